"""Which clip a sample is held against."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vidgen.errors import UserError
from vidgen_evaluate.clips import Clip
from vidgen_evaluate.references import References, find_references


def clip(name: str, prompt: str | None = None) -> Clip:
    return Clip(path=Path("mine") / f"{name}.mp4", name=name, prompt=prompt)


def names(**files: str) -> References:
    return References("name", {key: (Path(path),) for key, path in files.items()})


def test_a_name_is_found_whole_before_its_last_part_and_before_its_repeat() -> None:
    found = References("name", {key: (Path(key),) for key in ("b/one", "one", "one-1", "two")})
    assert [str(found.of(clip(name))) for name in ("b/one", "c/one", "one-1", "one-2", "c/two-7")] == [
        "b/one", "one", "one-1", "one", "two",
    ]  # fmt: skip


def test_a_clip_without_a_reference_says_what_was_looked_for() -> None:
    with pytest.raises(UserError, match="no reference of the name 'c/three'"):
        names(one="a").of(clip("c/three"))
    with pytest.raises(UserError, match="no reference of the prompt 'a cat'"):
        References("prompt", {}).of(clip("one", "a cat"))
    with pytest.raises(UserError, match="found by the prompt, and there is none in the file's metadata"):
        References("prompt", {"": (Path("a"),)}).of(clip("one"))


def test_several_references_of_one_key_are_not_chosen_from(folder: Path) -> None:
    found = References("prompt", {"a cat": (Path("x/a"), Path("y/b"))})
    with pytest.raises(UserError, match="2 references of the prompt 'a cat': x/a, y/b"):
        found.of(clip("one", "a cat"))


def test_files_of_a_folder_are_found_by_name_and_by_the_prompt_they_answer(folder: Path) -> None:
    refs = folder / "refs"
    assert find_references(refs, "name").of(clip("b")) == refs / "b.png"
    assert find_references(refs, "prompt").of(clip("other", " picture c ")) == refs / "c.png"


ROWS = [{"path": "refs/a.png", "text": "a cat"}, {"path": "refs/b.png", "text": "twice"}]


def write_csv(path: Path) -> None:
    path.write_text("".join(f"{row['path']},{row['text']}\n" for row in [{"path": "path", "text": "text"}, *ROWS]))


def write_jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def write_parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize("write_table", [write_csv, write_jsonl, write_parquet])
def test_rows_of_a_table_are_found_by_name_and_by_text(folder: Path, write_table: Callable[[Path], None]) -> None:
    table = folder / f"table.{write_table.__name__.removeprefix('write_')}"
    write_table(table)
    assert find_references(table, "name").of(clip("b-1")) == folder / "refs/b.png"
    assert find_references(table, "prompt").of(clip("z", "a cat")) == folder / "refs/a.png"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "path,caption\na.png,one\n", r"row 1 of .*t\.csv has no text \(it has path, caption\)"),
        ("t.csv", "file\na.png\n", r"row 1 of .*t\.csv has no path and no text \(it has file\)"),
        ("t.csv", "path,text\n", "gives nothing to match by prompt: the table has no row"),
        ("t.jsonl", '{"path": \n', r"t\.jsonl cannot be read as jsonl \("),
        ("t.jsonl", "3\n", "every line must be a JSON object with `path` and `text`"),
        ("t.jsonl", '{"path": 3, "text": "a"}\n', "has no path"),
        ("t.parquet", "no parquet", r"t\.parquet cannot be read as parquet \("),
        ("t.csv", b"path,text\n\xff\xfe,b\n", r"t\.csv cannot be read as csv \("),
        ("t.txt", "", r"is neither a folder nor a table \(\.csv, \.jsonl, \.parquet\)"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=said):
        find_references(tmp_path / name, "prompt")


def test_a_folder_of_files_without_prompts_cannot_be_matched_by_them(
    tmp_path: Path, write: Callable[..., Path], clip_of: Callable
) -> None:
    write(tmp_path / "a", clip_of(0, 1, 4, 5), None)
    with pytest.raises(UserError, match="gives nothing to match by prompt: no file has a prompt in its metadata"):
        find_references(tmp_path, "prompt")
