"""A table against its files."""

import json
from pathlib import Path
from typing import Any

import pytest

CHECK = ("--workers", 1)


@pytest.fixture
def faulty(clip: Any, still: Any, table: Any, tmp_path: Path) -> Path:
    """A table in which every second row is wrong in another way."""
    whole = clip("good.mp4", 12).read_bytes()
    still("still.png")
    (tmp_path / "noise.mp4").write_bytes(b"no video")
    (tmp_path / "cut.avi").write_bytes(clip("long.avi", 90).read_bytes()[:9000])
    assert len(whole) > 200
    return table(
        "m.csv",
        "path,text,num_frames,height,width,fps,aspect_ratio,resolution\n"
        "good.mp4,x,12,34,50,30,0.68,1700\n"
        "good.mp4,x,14,50,34,25,1.47,-1\n"
        "still.png,x,1,5,7,0,0.714,35\n"
        "gone.mp4,x,12,34,50,30,,\n"
        "noise.mp4,x,,,,,,\n"
        ",x,1,1,1,1,1,1\n"
        "../m.csv,x,,,,,,\n"
        "long.avi,x,90,34,50,30,,\n",
    )


def test_rows_and_reasons_are_told(run: Any, faulty: Path) -> None:
    done = run("validate", faulty, "--num-frames", 12, *CHECK)
    assert done.status == 1
    lines = [line.rstrip() for line in done.out.splitlines()]
    words = [line.split(maxsplit=1) for line in lines[1:-2]]
    assert [row for row, _ in words] == ["1", "2", "3", "4", "5", "6"]
    differences = (
        "num_frames is 12 in the file, 14 in the table; height is 34 in the file, 50 in the table; width is 50 in the "
        "file, 34 in the table; fps is 30 in the file, 25 in the table; aspect_ratio is 0.68 in the file, 1.47 in the "
        "table; resolution is 1700 in the file, -1 in the table"
    )
    for (_, text), parts in zip(
        words,
        [
            ("wrong metadata", "good.mp4", differences),
            ("too short", "still.png", "it is one picture, 12 are needed"),
            ("missing", "gone.mp4", f"no such file: {faulty.parent / 'gone.mp4'}"),
            ("unreadable", "noise.mp4", "Invalid data found"),
            ("no path", "the row has no path"),
            ("leaves root", "../m.csv", f"it leads out of {faulty.parent}"),
        ],
        strict=True,
    ):
        assert all(part in text for part in parts), text
    assert lines[-2].startswith("8 rows: 1 wrong metadata, 1 too short, 1 missing")
    assert lines[-1] == "1 rows have a path that a row before has"


def test_the_same_as_json(run: Any, faulty: Path) -> None:
    done = run("validate", faulty, "--json", *CHECK)
    found = json.loads(done.out)
    assert done.status == 1 and (found["rows"], found["wrong"], found["repeated"]) == (8, 5, 1)
    assert found["kinds"] == {"wrong metadata": 1, "missing": 1, "unreadable": 1, "no path": 1, "leaves root": 1}
    assert [fault["row"] for fault in found["faults"]] == [1, 3, 4, 5, 6]
    assert found["faults"][1]["path"] == "gone.mp4" and found["faults"][1]["kind"] == "missing"
    assert found["lacking"] == []


def test_the_list_can_be_kept_short(run: Any, faulty: Path) -> None:
    out = run("validate", faulty, "--show", 2, *CHECK).out
    assert "and 3 more; --show or --json gives them all" in out and "gone.mp4" in out and "noise.mp4" not in out


def test_all_is_well(run: Any, clip: Any, table: Any, tmp_path: Path) -> None:
    clip("media/a.mp4")
    table("m.csv", "path,text,num_frames\na.mp4,nothing moves,7\n")
    done = run("validate", "m.csv", "--root", "media", "--decode", 3, *CHECK)
    assert (done.status, done.out) == (0, "1 rows: all is well\n")


def test_a_file_that_ends_early_is_found_by_decoding(run: Any, clip: Any, table: Any) -> None:
    long = clip("long.mkv", 90)
    long.write_bytes(long.read_bytes()[:-6000])
    table("m.csv", "path,text,num_frames\nlong.mkv,x,\n")
    assert run("validate", "m.csv", *CHECK).status == 0
    done = run("validate", "m.csv", "--decode", 8, *CHECK)
    assert done.status == 1 and "its header promises 3.00 seconds" in done.out


def test_a_clip_that_is_too_short(run: Any, clip: Any, table: Any) -> None:
    clip("a.mp4", 7)
    table("m.csv", "path,text\na.mp4,x\n")
    assert run("validate", "m.csv", "--num-frames", 7, *CHECK).status == 0
    assert "it has 7 frames, 8 are needed" in run("validate", "m.csv", "--num-frames", 8, *CHECK).out


@pytest.mark.parametrize("kind", ["m.csv", "m.parquet"])
def test_rows_without_a_caption_are_told_with_what_to_do(run: Any, clip: Any, table: Any, kind: str) -> None:
    clip("a.mp4")
    texts = ["a dog", "", " \t"] if kind == "m.csv" else ["a dog", None, "\n"]
    rows = [{"path": "a.mp4", "text": text} for text in texts]
    table(kind, rows if kind == "m.parquet" else "path,text\n" + "".join(f'a.mp4,"{text}"\n' for text in texts))
    done = run("validate", kind, *CHECK)
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert done.status == 1
    assert lines[1:4] == [
        "1 no caption a.mp4 its text is empty",
        "2 no caption a.mp4 its text is empty",
        "3 rows: 2 no caption",
    ]
    assert "write it into the column text, or leave them out" in lines[4]
    assert run("filter", kind, "-o", "o.csv", "--where", 'text ~ "[^ ]"').status == 0 and 'text ~ "[^ ]"' in lines[5]


def test_a_row_without_a_caption_and_without_a_file_has_two_faults(run: Any, table: Any) -> None:
    table("m.csv", "path,text\ngone.mp4,\n")
    found = json.loads(run("validate", "m.csv", "--json", *CHECK).out)
    assert (found["wrong"], found["kinds"]) == (1, {"no caption": 1, "missing": 1})


@pytest.mark.parametrize(("kind", "content"), [("m.csv", "path\na.mp4\n"), ("m.jsonl", '{"path": "a.mp4"}\n')])
def test_a_table_without_captions_is_told_once(run: Any, clip: Any, table: Any, kind: str, content: str) -> None:
    clip("a.mp4")
    table(kind, content)
    done = run("validate", kind, *CHECK)
    assert done.status == 1
    assert done.out.startswith(
        "1 rows: 1 without text\nthere is no column text, and training with a text encoder refuses"
    )
    assert json.loads(run("validate", kind, "--json", *CHECK).out)["lacking"] == ["text"]


def test_captions_are_not_asked_for_where_none_are_needed(run: Any, clip: Any, table: Any) -> None:
    clip("a.mp4")
    for content in ("path\na.mp4\n", "path,text\na.mp4,\n"):
        table("m.csv", content)
        done = run("validate", "m.csv", "--no-captions", *CHECK)
        assert (done.status, done.out) == (0, "1 rows: all is well\n")


def test_tables_that_cannot_be_checked(run: Any, table: Any) -> None:
    table("pathless.csv", "text,num_frames\na,1\n")
    table("empty.csv", "path,text\n")
    for name, says in {
        "pathless.csv": "pathless.csv has no column 'path'",
        "empty.csv": "empty.csv has no rows",
        "none.csv": "none.csv: no such file",
        "m.doc": "ends in '.doc'",
    }.items():
        done = run("validate", name)
        assert done.status == 2 and says in done.error


def test_words_where_numbers_belong_are_told(run: Any, clip: Any, table: Any) -> None:
    clip("a.mp4")
    table("m.csv", "path,text,height\na.mp4,x,tall\n")
    assert "height is 'tall' in the table, which is no number" in run("validate", "m.csv", *CHECK).out


def test_the_real_clips_are_as_their_table_says(run: Any, clips: Path) -> None:
    done = run("validate", clips / "meta.csv", "--decode", 2, *CHECK)
    assert (done.status, done.out) == (0, "6 rows: all is well\n")


def test_headers_of_odd_real_clips(run: Any, clips: Path, rows: Any) -> None:
    run("scan", clips / "odd", "-o", "m.csv", *CHECK)
    facts = {
        row["path"]: (row["num_frames"], row["height"], row["width"], row["fps"], row["codec"]) for row in rows("m.csv")
    }
    assert facts["rotated_90.mov"] == (3, 568, 320, 30, "h264") and facts["rotated_180.mov"][1:3] == (320, 568)
    assert facts["av1_video.mkv"] == (125, 360, 640, 25, "av1") and facts["h265_video.mp4"] == (
        10,
        128,
        128,
        10,
        "hevc",
    )
