"""Reading and writing tables: types that hold all values, whole files or none."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from vidgen.errors import UserError
from vidgen_data import source as source_module
from vidgen_data.output import check_output, written
from vidgen_data.source import check_column, open_source

CAPTION = 'she says "hi",\nthen, 🎬 leaves'
TABLE = pa.table(
    {
        "path": ["a.mp4", "b/ü.mp4", "c.jpg"],
        "text": [CAPTION, "x", "y"],
        "num_frames": pa.array([60, None, 1], pa.int64()),
        "fps": [29.97, None, 0.0],
    }
)


def write(path: Path, table: pa.Table = TABLE, *, force: bool = False) -> None:
    with written(path, table.schema, force=force) as writer:
        for batch in table.to_batches(max_chunksize=2):
            writer.write(batch)


def read(path: Path) -> pa.Table:
    source = open_source(path)
    return pa.Table.from_batches(source.batches(), source.schema)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.jsonl"])
def test_what_is_written_is_read_again(name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    assert read(tmp_path / name).equals(TABLE)
    assert open_source(tmp_path / name).num_rows == 3
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.jsonl"])
def test_columns_can_be_read_alone_and_in_another_order(name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    (batch,) = open_source(tmp_path / name).batches(["fps", "path"])
    assert batch.schema.names == ["fps", "path"] and batch.column("fps").to_pylist() == [29.97, None, 0.0]


def test_the_type_of_a_csv_column_holds_all_its_values(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that each column changes its mind late."""
    monkeypatch.setattr(source_module, "BLOCK", 128)
    lines = [f"p{row}.mp4,{row},{row},,2020-01-0{row % 9 + 1},true" for row in range(40)]
    lines += ["123,1.5,word,7,2020-01-01,no", "NULL,nan,3,,x,"]
    read_again = read(table("t.csv", "path,a,b,c,d,e\n" + "\n".join(lines) + "\n"))
    assert [str(one) for one in read_again.schema.types] == ["string", "double", "string", "int64", "string", "string"]
    assert read_again.slice(40).to_pylist() == [
        {"path": "123", "a": 1.5, "b": "word", "c": 7, "d": "2020-01-01", "e": "no"},
        {"path": "NULL", "a": None, "b": "3", "c": None, "d": "x", "e": ""},
    ]


def test_parquets_dictionaries_and_large_texts_are_plain_texts(tmp_path: Path) -> None:
    codes = pa.table(
        {"path": pa.array(["a", "b", "a"]).dictionary_encode(), "text": pa.array(["x"] * 3, pa.large_string())}
    )
    pa.parquet.write_table(codes, tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").schema.types == [pa.string(), pa.string()]


def test_json_leaves_out_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl", pa.table({"path": ["a", "b"], "aes": [float("nan"), 0.5], "text": [None, "ü"]}))
    assert (tmp_path / "t.jsonl").read_text(
        encoding="utf-8"
    ) == '{"path": "a"}\n{"path": "b", "aes": 0.5, "text": "ü"}\n'


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.txt", "path\n", r"ends in \.parquet, \.csv, \.jsonl, and this one ends in '\.txt'"),
        ("t", "path\n", "this one has no ending"),
        ("t.csv", "", "cannot be read as a table: Empty"),
        ("t.jsonl", "", "cannot be read as a table: Empty"),
        ("t.parquet", "PAR1", "cannot be read as a table"),
        ("t.csv", "path,text,path\na,b,c\n", "has the column 'path' twice"),
        ("t.csv", "path,text\na,b,c\n", "Expected 2 columns, got 3"),
        ("t.jsonl", "{\n", "cannot be read as a table: JSON parse error"),
    ],
)
def test_what_is_no_table_is_refused(name: str, content: str, says: str, table: Any) -> None:
    with pytest.raises(UserError, match=says):
        open_source(table(name, content))


def test_a_table_in_another_coding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("path,text\na,Tür\n".encode("latin-1"))
    with pytest.raises(UserError, match="UTF8"):
        open_source(tmp_path / "t.csv")


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(UserError, match="no such file"):
        open_source(tmp_path / "t.csv")
    with pytest.raises(UserError, match="is a folder, not a table"):
        open_source(tmp_path / "d.csv")


def test_a_missing_column_names_its_neighbours(table: Any) -> None:
    with pytest.raises(UserError, match=r"no column 'path'\n    did you mean paths\?"):
        check_column(open_source(table("t.csv", "paths,text\na,b\n")), "path")


def test_a_table_that_exists_is_replaced_on_demand_only(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(UserError, match=r"t\.csv exists\. .* --force"):
        write(path)
    assert path.read_text() == "old"
    write(path, force=True)
    assert read(path).num_rows == 3


def test_a_failure_leaves_nothing_and_the_old_table(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_text("old")
    with pytest.raises(KeyError), written(path, TABLE.schema, force=True) as writer:
        writer.write(TABLE.to_batches()[0])
        raise KeyError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    lists = pa.table({"path": ["a"], "tags": [["x", "y"]]})
    with pytest.raises(UserError, match=r"cannot hold these columns.*\n.*\.parquet"):
        write(tmp_path / "t.csv", lists)
    assert not list(tmp_path.iterdir())
    write(tmp_path / "t.parquet", lists)
    assert read(tmp_path / "t.parquet").equals(lists)


def test_folders_of_a_new_table_are_made_and_unwritable_ones_told(tmp_path: Path) -> None:
    check_output(tmp_path / "new" / "t.csv", force=False)
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "t.csv", Path("/proc/t.csv")):
        with pytest.raises(UserError, match="cannot be written"):
            check_output(path, force=False)


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write(tmp_path / "t.csv")
    finally:
        os.umask(mask)
    assert (tmp_path / "t.csv").stat().st_mode & 0o777 == 0o640


def test_help_lists_every_command_and_imports_none(run: Callable[..., Any]) -> None:
    done = run("--help")
    for name in ("scan", "validate", "plan", "preview", "info", "filter", "merge", "join", "split", "shard"):
        assert f"  {name} " in done.out
        assert run(name, "--help").status == 0
    assert run("nothing").status == 2
