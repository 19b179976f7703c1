"""filter, merge, join, split, shard: which rows and columns come out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vidgen_data import source as source_module

CSV = (
    "path,text,num_frames,height,width,aes\n"
    "a.mp4,a dog,60,256,340,5.5\n"
    "b.mp4,,17,240,426,4\n"
    "a.mp4,a cat,60,256,340,5.5\n"
    "c.jpg,a dog,1,180,320,\n"
    "d.mp4,,300,720,1280,6\n"
)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in several batches, as in large tables."""
    monkeypatch.setattr(source_module, "BATCH", 2)
    monkeypatch.setattr(source_module, "BLOCK", 64)


def paths(rows: list[dict[str, Any]]) -> list[str]:
    return [row["path"] for row in rows]


def test_filter_keeps_the_rows_that_fulfil_a_condition(run: Any, table: Any, rows: Any) -> None:
    table("m.csv", CSV)
    done = run("filter", "m.csv", "-o", "o.parquet", "--where", 'num_frames >= 17 and not text ~ "cat"')
    assert (done.status, done.out) == (0, "o.parquet: 3 of 5 rows\n")
    assert paths(rows("o.parquet")) == ["a.mp4", "b.mp4", "d.mp4"]
    assert rows("o.parquet")[0] == {
        "path": "a.mp4", "text": "a dog", "num_frames": 60, "height": 256, "width": 340, "aes": 5.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--dedup", "path"], ["a.mp4", "b.mp4", "c.jpg", "d.mp4"]),
        (["--dedup", "text"], ["a.mp4", "b.mp4", "a.mp4", "d.mp4"]),  # rows without a text are no duplicates
        (["--dedup", "height"], ["a.mp4", "b.mp4", "c.jpg", "d.mp4"]),
        (["--dedup", "path", "--where", 'text ~ "cat|^$"'], ["b.mp4", "a.mp4", "d.mp4"]),
        (["--limit", "3"], ["a.mp4", "b.mp4", "a.mp4"]),
        (["--limit", "0"], []),
        (["--limit", "1", "--where", "num_frames < 20"], ["b.mp4"]),
        (["--limit", "2", "--dedup", "text", "--where", "num_frames < 20"], ["b.mp4", "c.jpg"]),
        ([], ["a.mp4", "b.mp4", "a.mp4", "c.jpg", "d.mp4"]),
    ],
)
def test_filter_removes_duplicates_and_stops_early(
    options: list[str], kept: list[str], run: Any, table: Any, rows: Any
) -> None:
    table("m.csv", CSV)
    assert run("filter", "m.csv", "-o", "o.jsonl" if kept else "o.parquet", *options).status == 0
    assert paths(rows("o.jsonl" if kept else "o.parquet")) == kept


def test_filter_keeps_the_columns_of_training(run: Any, table: Any, rows: Any) -> None:
    table("m.csv", CSV)
    run("filter", "m.csv", "-o", "o.csv", "--train-columns", "--where", "aes > 5", "--dedup", "path")
    assert [list(row) for row in rows("o.csv")] == [["path", "text", "num_frames", "height", "width"]] * 2


def test_a_sample_depends_on_paths_and_seed_alone(run: Any, table: Any, rows: Any) -> None:
    names = [f"{number}.mp4" for number in range(40)]
    table("m.csv", "path\n" + "\n".join(names) + "\n")
    table("reversed.csv", "path\n" + "\n".join(reversed(names)) + "\n")
    for name, seed in (("m", 0), ("reversed", 0), ("m", 1)):
        run("filter", f"{name}.csv", "-o", f"{name}{seed}.csv", "--sample", 7, "--seed", seed)
    one, same, other = (paths(rows(name)) for name in ("m0.csv", "reversed0.csv", "m1.csv"))
    assert len(one) == 7 and one == same[::-1] and one != other
    assert one == sorted(one, key=names.index)
    run("filter", "m.csv", "-o", "all.csv", "--sample", 99)
    assert paths(rows("all.csv")) == names


def test_filter_of_no_rows_is_a_table_of_no_rows(run: Any, table: Any) -> None:
    table("m.csv", "path,num_frames\n")
    assert run("filter", "m.csv", "-o", "o.csv", "--dedup", "path").out == "o.csv: 0 of 0 rows\n"


def test_filter_says_what_is_wrong(run: Any, table: Any) -> None:
    table("m.csv", CSV)
    table("nameless.csv", "text\na\n")
    for arguments, says in {
        ("m.csv", "-o", "o.csv", "--where", "heihgt > 1"): "did you mean height?",
        ("m.csv", "-o", "o.txt"): "ends in '.txt'",
        ("m.txt", "-o", "o.csv"): "ends in '.txt'",
        ("m.csv", "-o", "m.csv"): "m.csv exists",
        ("x.csv", "-o", "o.csv"): "x.csv: no such file",
        ("m.csv", "-o", "o.csv", "--dedup", "pth"): "did you mean path?",
        ("nameless.csv", "-o", "o.csv", "--sample", "1"): "nameless.csv has no column 'path'",
    }.items():
        done = run("filter", *arguments)
        assert done.status == 2 and says in done.error, arguments
    assert run("filter", "m.csv").status == 2  # no -o


def test_a_table_can_be_filtered_into_itself(run: Any, table: Any, rows: Any) -> None:
    table("m.csv", CSV)
    assert run("filter", "m.csv", "-o", "m.csv", "--limit", 2, "--force").status == 0
    assert paths(rows("m.csv")) == ["a.mp4", "b.mp4"]


def test_merge_gives_the_union_of_columns_and_types(run: Any, table: Any, rows: Any) -> None:
    table("a.csv", "path,num_frames,aes\na.mp4,3,0.5\n")
    table("b.parquet", [{"path": "b.mp4", "num_frames": 2.5, "text": "b"}])
    done = run("merge", "a.csv", "b.parquet", "a.csv", "-o", "o.parquet")
    assert done.out == "o.parquet: 3 of 3 rows from 3 tables\n"
    first = {"path": "a.mp4", "num_frames": 3.0, "aes": 0.5, "text": None}
    assert rows("o.parquet") == [first, {"path": "b.mp4", "num_frames": 2.5, "aes": None, "text": "b"}, first]
    run("merge", "a.csv", "b.parquet", "a.csv", "-o", "d.parquet", "--dedup", "path")
    assert paths(rows("d.parquet")) == ["a.mp4", "b.mp4"]


def test_tables_whose_columns_differ_in_kind_are_not_merged(run: Any, table: Any) -> None:
    table("a.csv", "path,aes\na.mp4,3\n")
    table("b.csv", "path,aes\nb.mp4,good\n")
    done = run("merge", "a.csv", "b.csv", "-o", "o.csv")
    assert done.status == 2 and "b.csv does not fit the tables before it" in done.error and "aes" in done.error


def test_join_adds_scores_by_path(run: Any, table: Any, rows: Any) -> None:
    table("m.csv", CSV)
    table("s.csv", "path,num_frames,aes,flow\nd.mp4,1,1,0.25\nx.mp4,1,1,9\na.mp4,1,1,0.75\n")
    done = run("join", "m.csv", "s.csv", "-o", "o.csv")
    assert done.out.splitlines() == [
        "o.csv: 5 rows, 3 of them found in s.csv",
        "added: flow",
        "kept as they are in m.csv: num_frames, aes",
    ]
    assert [row["flow"] for row in rows("o.csv")] == [0.75, None, 0.75, None, 0.25]
    assert [row["aes"] for row in rows("o.csv")] == [5.5, 4, 5.5, None, 6]
    run("join", "m.csv", "s.csv", "-o", "c.csv", "--columns", "aes")
    assert [row["aes"] for row in rows("c.csv")] == [1, None, 1, None, 1]


def test_join_by_another_column_of_numbers(run: Any, table: Any, rows: Any) -> None:
    table("m.csv", CSV)
    table("s.csv", "height,name\n256,square\n720,high\n")
    run("join", "m.csv", "s.csv", "-o", "o.parquet", "--on", "height")
    assert [row["name"] for row in rows("o.parquet")] == ["square", None, "square", None, "high"]


def test_join_says_what_is_wrong(run: Any, table: Any) -> None:
    table("m.csv", CSV)
    table("twice.csv", "path,flow\na.mp4,1\na.mp4,2\n")
    table("same.csv", "path,aes\na.mp4,1\n")
    table("pathless.csv", "name,flow\na.mp4,1\n")
    for name, says in {
        "twice": "path 'a.mp4' in several rows",
        "same": "no column that m.csv lacks",
        "pathless": "pathless.csv has no column 'path'",
    }.items():
        done = run("join", "m.csv", f"{name}.csv", "-o", "o.csv")
        assert done.status == 2 and says in done.error
    done = run("join", "m.csv", "same.csv", "-o", "o.csv", "--columns", "aess")
    assert done.status == 2 and "did you mean aes?" in done.error


def test_join_with_no_scores_finds_nothing(run: Any, table: Any, rows: Any) -> None:
    table("m.csv", CSV)
    table("s.csv", "path,flow\n")
    run("join", "m.csv", "s.csv", "-o", "o.parquet")
    assert {row["flow"] for row in rows("o.parquet")} == {None}


def test_a_row_stays_on_its_side_when_the_table_grows(run: Any, table: Any, rows: Any) -> None:
    names = [f"{number}.mp4" for number in range(200)]
    table("small.csv", "path\n" + "\n".join(names[:50]) + "\n")
    table("large.csv", "path\n" + "\n".join(reversed(names)) + "\n")
    for name in ("small", "large"):
        assert run("split", f"{name}.csv", "-o", name, "--val", 0.3).status == 0
    small, large = (
        {side: set(paths(rows(f"{name}_{side}.csv"))) for side in ("train", "val")} for name in ("small", "large")
    )
    assert large["train"] | large["val"] == set(names) and not large["train"] & large["val"]
    assert all(small[side] <= large[side] for side in small)
    assert 40 <= len(large["val"]) <= 80
    run("split", "large.csv", "-o", "other", "--val", 0.3, "--seed", 1)
    assert set(paths(rows("other_val.csv"))) != large["val"]


@pytest.mark.parametrize(("share", "counts"), [(0, (5, 0)), (1, (0, 5))])
def test_split_takes_nothing_or_all(share: float, counts: tuple[int, int], run: Any, table: Any) -> None:
    table("m.csv", CSV)
    done = run("split", "m.csv", "-o", "m", "--val", share)
    assert done.out == f"m_train.csv: {counts[0]} rows\nm_val.csv: {counts[1]} rows\n"


def test_split_needs_its_column_and_free_names(run: Any, table: Any, tmp_path: Path) -> None:
    table("m.csv", CSV)
    table("pathless.csv", "text\na\n")
    assert "has no column 'path'" in run("split", "pathless.csv", "-o", "p").error
    (tmp_path / "m_val.csv").write_text("old")
    assert "m_val.csv exists" in run("split", "m.csv", "-o", "m").error
    assert not (tmp_path / "m_train.csv").exists() and (tmp_path / "m_val.csv").read_text() == "old"


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shards_are_even_and_merge_to_the_table(parts: int, run: Any, table: Any, rows: Callable[..., Any]) -> None:
    table("m.csv", CSV)
    names = [line.split(":")[0] for line in run("shard", "m.csv", "-n", parts, "-o", "s/m").out.splitlines()]
    assert names[-1] == f"s/m-{parts - 1:05d}-of-{parts:05d}.csv"
    counts = [sum(1 for _ in open(name)) - 1 for name in names]  # noqa: PTH123, SIM115
    assert sum(counts) == 5 and max(counts) - min(counts) <= 1
    run("merge", *names, "-o", "again.csv")
    assert rows("again.csv") == rows("m.csv")


def test_shards_of_nothing_are_empty(run: Any, table: Any) -> None:
    table("m.csv", "path\n")
    assert run("shard", "m.csv", "-n", 2, "-o", "m").out.count(": 0 rows") == 2


def test_info_counts_what_is_there(run: Any, table: Any) -> None:
    table("m.csv", CSV.replace("aes", "fps"))
    out = run("info", "m.csv").out
    assert "m.csv: 5 rows, 6 columns" in out
    words = [line.split() for line in out.splitlines()]
    assert ["text", "string", "2"] in words and ["fps", "double", "1", "4", "to", "6"] in words
    assert ["num_frames", "int64", "0", "1", "to", "300"] in words
    assert ["17", "below", "34", "1", "#" * 20] in words and ["51", "below", "102", "2", "#" * 40] in words
    assert f"video: {(60 / 5.5 * 2 + 17 / 4 + 300 / 6) / 3600:.2f} hours" in out


def test_info_of_an_empty_table(run: Any, table: Any) -> None:
    table("m.csv", "path,num_frames\n")
    assert "m.csv: 0 rows, 2 columns" in run("info", "m.csv").out
