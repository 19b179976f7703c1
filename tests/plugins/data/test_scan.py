"""From a folder to a table: what is found, what is rejected, how a scan goes on."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from vidgen_data.captions import BadCaption, caption_beside
from vidgen_data.probing import Header
from vidgen_data.scan_store import ScanStore
from vidgen_data.walking import MediaFile, Walk

SCAN = ("--workers", 1)


def test_a_scan_finds_videos_and_images_with_captions(
    run: Any, clip: Any, still: Any, rows: Any, tmp_path: Path
) -> None:
    clip("media/b/clip.mp4", 7)
    clip("media/turned.mov", 3, turned=90)
    still("media/a.jpg")
    (tmp_path / "media/b/clip.txt").write_text(" a clip\n", encoding="utf-8")
    (tmp_path / "media/a.json").write_text(json.dumps({"caption": ["a “still”", "other"]}), encoding="utf-8")
    done = run("scan", "media", "-o", "meta.parquet", *SCAN)
    assert done.out == "media: 3 videos and images\nmeta.parquet: 3 rows, 2 with a caption\n"
    first, second, third = rows("meta.parquet")
    sizes = {path: (tmp_path / path).stat().st_size for path in ("media/a.jpg", "media/b/clip.mp4")}
    assert first == {
        "path": "media/a.jpg", "id": "a", "text": "a “still”", "num_frames": 1, "height": 5, "width": 7,
        "aspect_ratio": 5 / 7, "fps": 0.0, "resolution": 35, "size": sizes["media/a.jpg"], "codec": "jpeg",
    }  # fmt: skip
    assert second == {
        "path": "media/b/clip.mp4", "id": "clip", "text": "a clip", "num_frames": 7, "height": 34, "width": 50,
        "aspect_ratio": 0.68, "fps": 30.0, "resolution": 1700, "size": sizes["media/b/clip.mp4"], "codec": "mpeg4",
    }  # fmt: skip
    assert (third["path"], third["text"], third["height"], third["width"]) == ("media/turned.mov", None, 50, 34)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["media", "meta.parquet"]


def test_damaged_files_are_listed_and_stop_nothing(run: Any, clip: Any, rows: Any, tmp_path: Path) -> None:
    whole = clip("media/good.mp4").read_bytes()
    for name, content in {"cut.mp4": whole[:200], "empty.mkv": b"", "text.mp4": b"hello", "a.png": b"x"}.items():
        (tmp_path / "media" / name).write_bytes(content)
    (tmp_path / "media/good.json").write_text('{"caption": 3}')
    done = run("scan", "media", "-o", "media/meta.csv", *SCAN)
    assert (done.status, "meta.csv: 1 rows, 0 with" in done.out) == (0, True)
    assert "meta.rejected.csv: 5 problems, such as a.png: cannot identify image file" in done.out
    assert [row["path"] for row in rows("media/meta.csv")] == ["good.mp4"]
    reasons = {row["path"]: row["reason"] for row in rows("media/meta.rejected.csv")}
    assert list(reasons) == ["a.png", "cut.mp4", "empty.mkv", "good.mp4", "text.mp4"]
    assert reasons["empty.mkv"] == "the file is empty"
    assert reasons["good.mp4"].startswith("caption good.json: it holds no text under any of text, caption")


def test_a_file_that_never_answers_is_given_up(run: Any, clip: Any, still: Any, rows: Any, tmp_path: Path) -> None:
    """A pipe into which nobody writes keeps its reader waiting."""
    clip("media/good.mp4")
    still("media/last.png")
    os.mkfifo(tmp_path / "media/hangs.png")
    os.mkfifo(tmp_path / "media/good.txt")
    assert run("scan", "media", "-o", "m.csv", "--timeout", 2, *SCAN).status == 0
    assert [row["path"] for row in rows("m.csv")] == ["media/good.mp4", "media/last.png"]
    assert rows("m.rejected.csv") == [{"path": "hangs.png", "reason": "no answer within 2 seconds"}]


def test_a_table_of_captions_comes_first(run: Any, clip: Any, table: Any, rows: Any, tmp_path: Path) -> None:
    clip("media/a.mp4")
    clip("media/b.mp4")
    clip("media/c.mp4")
    (tmp_path / "media/a.txt").write_text("beside")
    (tmp_path / "media/c.txt").write_text("beside")
    table(
        "captions.csv",
        f'path,text\n./a.mp4,"listed, 🎬"\n{tmp_path}/media/b.mp4,absolute\nb.mp4,again\nx.mp4,x\nc.mp4,\n',
    )
    done = run("scan", "media", "-o", "meta.csv", "--captions", "captions.csv", *SCAN)
    assert "captions.csv: names 2 of the files\n" in done.out
    assert [row["text"] for row in rows("meta.csv")] == ["listed, 🎬", "absolute", "beside"]


def test_captions_that_fit_no_file_are_hinted_at(run: Any, clip: Any, table: Any) -> None:
    clip("media/a.mp4")
    table("captions.csv", "path,text\nmedia/a.mp4,x\n")
    done = run("scan", "media", "-o", "meta.csv", "--captions", "captions.csv", *SCAN)
    assert "names 0 of the files; its paths must start from media" in done.out


def test_captions_with_other_columns_are_refused(run: Any, clip: Any, table: Any) -> None:
    clip("media/a.mp4")
    table("captions.csv", "file,txt\na.mp4,x\n")
    done = run("scan", "media", "-o", "meta.csv", "--captions", "captions.csv")
    assert (done.status, done.error.splitlines()[0]) == (2, "captions.csv has no column 'path'")


def test_paths_start_from_the_folder_where_the_table_is_elsewhere(
    run: Any, clip: Any, rows: Any, tmp_path: Path
) -> None:
    clip("media/in/a.mp4")
    done = run("scan", "media", "-o", "tables/meta.csv", *SCAN)
    assert f"write root: {tmp_path / 'media'} beside data_path" in done.out
    assert rows("tables/meta.csv")[0]["path"] == "in/a.mp4"


def test_links_in_a_circle_end_and_lead_to_each_file_once(still: Any, tmp_path: Path) -> None:
    still("media/sub/a.png")
    still("elsewhere/b.png")
    still("media/.hidden/c.png")
    still("media/.d.png")
    (tmp_path / "media/sub/circle").symlink_to(tmp_path / "media")
    (tmp_path / "media/again").symlink_to(tmp_path / "media/sub")
    (tmp_path / "media/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "media/gone.png").symlink_to(tmp_path / "nothing.png")
    walk = Walk(tmp_path / "media")
    assert [file.path for file in walk.files()] == ["sub/a.png", "link/b.png"]
    assert walk.problems == [("gone.png", "No such file or directory")]


def test_names_that_are_not_utf8_are_told(tmp_path: Path) -> None:
    (tmp_path / "T\udcfcr.mp4").touch()
    walk = Walk(tmp_path)
    assert list(walk.files()) == [] and walk.problems == [("T\\udcfcr.mp4", "its name is not UTF-8; rename it")]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere", "-o", "m.csv"), "nowhere: no such folder"),
        (("file.txt", "-o", "m.csv"), "file.txt: no folder"),
        (("empty", "-o", "m.csv"), "empty holds no videos or images, nor does any folder below it. Looked for: .mp4"),
        (("empty", "-o", "m.xlsx"), "ends in '.xlsx'"),
        (("empty", "-o", "there.csv"), "there.csv exists"),
        (("empty", "-o", "file.txt/m.csv"), "cannot be written"),
        (("empty", "-o", "m.csv", "--captions", "none.csv"), "none.csv: no such file"),
    ],
)
def test_a_scan_that_cannot_be_leaves_nothing(arguments: tuple[str, ...], says: str, run: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.md").touch()
    (tmp_path / "file.txt").touch()
    (tmp_path / "there.csv").touch()
    before = sorted(tmp_path.rglob("*"))
    done = run("scan", *arguments)
    assert done.status == 2 and says in done.error
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_nothing_but_damage_is_an_error(run: Any, tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media/a.mp4").write_bytes(b"x")
    done = run("scan", "media", "-o", "m.csv", *SCAN)
    assert (done.status, done.error) == (1, "none of the 1 files can be read; m.rejected.csv says why")
    assert (tmp_path / "m.rejected.csv").exists() and not (tmp_path / "m.csv").exists()


def test_what_is_known_is_not_read_again(run: Any, clip: Any, rows: Any, tmp_path: Path) -> None:
    """A file changed behind the scan's back, with its old size and time, shows that it was not opened."""
    first = clip("media/a.mp4")
    clip("media/b.mp4", 5)
    clip("media/c.mp4", 6)
    run("scan", "media", "-o", "m.csv", "--keep", *SCAN)
    assert (tmp_path / "m.csv.scan").exists()
    old = first.stat()
    first.write_bytes(b"x" * old.st_size)
    os.utime(first, ns=(old.st_atime_ns, old.st_mtime_ns))
    clip("media/b.mp4", 9)
    (tmp_path / "media/c.mp4").unlink()
    clip("media/d.mp4", 4)
    done = run("scan", "media", "-o", "m.csv", "--force", *SCAN)
    assert "media: 3 videos and images, 1 of them known from before" in done.out
    assert [(row["path"], row["num_frames"]) for row in rows("m.csv")] == [
        ("media/a.mp4", 7), ("media/b.mp4", 9), ("media/d.mp4", 4),
    ]  # fmt: skip
    assert not (tmp_path / "m.csv.scan").exists()


def test_an_interrupted_scan_goes_on(run: Any, clip: Any, rows: Any, tmp_path: Path, monkeypatch: Any) -> None:
    for name in "abc":
        clip(f"media/{name}.mp4")

    def interrupted(function: Any, tasks: Any, **_: Any) -> Any:
        first = next(tasks)
        yield first, function(first)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vidgen_data.scanning.answers", interrupted)
        done = run("scan", "media", "-o", "m.csv")
    assert done.status == 1 and "what was found so far is in m.csv.scan; the same command goes on" in done.error
    assert not (tmp_path / "m.csv").exists()
    assert "3 videos and images, 1 of them known from before" in run("scan", "media", "-o", "m.csv", *SCAN).out
    assert len(rows("m.csv")) == 3


def test_what_another_folder_left_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    header = Header(num_frames=3, height=2, width=5, fps=1.5, codec="x", counted=True)
    file = MediaFile("a.mp4", 10, 20)
    for folder, unknown in (("one", 1), ("one", 0), ("two", 1)):
        store = ScanStore(tmp_path / "m.scan", tmp_path / folder)
        store.set_present([file])
        assert store.count_unknown() == unknown
        assert list(store.unknown()) == [file] * unknown
        store.add([(file, header)])
        store.close()


def test_many_files_come_out_in_pages_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidgen_data.scan_store.PAGE", 2)
    files = [MediaFile(f"{name}.mp4", 1, 1) for name in "ecadb"]
    store = ScanStore(tmp_path / "m.scan", tmp_path)
    store.set_present(files)
    asked, header = [], Header(num_frames=1, height=2, width=3, fps=0.0, codec="x", counted=True)
    for file in store.unknown():
        asked.append(file.path)
        store.add([(file, "damaged" if file.path == "c.mp4" else header)])
    found = [(row.path, row.reason) for row in store.results()]
    store.close()
    assert asked == ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"]
    assert found == [(path, "damaged" if path == "c.mp4" else None) for path in asked]


def test_a_damaged_side_file_is_told(run: Any, clip: Any, tmp_path: Path) -> None:
    clip("media/a.mp4")
    (tmp_path / "m.csv.scan").write_text("no database " * 100)
    done = run("scan", "media", "-o", "m.csv")
    assert done.status == 1 and "m.csv.scan, where the scan keeps what it found: file is not a database" in done.error


def test_a_scan_that_another_one_keeps_from_its_file_says_so(run: Any, clip: Any, tmp_path: Path) -> None:
    clip("media/a.mp4")
    ScanStore(tmp_path / "m.csv.scan", tmp_path / "media").close()
    other = sqlite3.connect(tmp_path / "m.csv.scan", isolation_level=None)
    other.execute("begin exclusive")
    try:
        done = run("scan", "media", "-o", "m.csv")
    finally:
        other.close()
    assert done.status == 1 and "database is locked" in done.error and "another scan" in done.error


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("c.txt", "\ufeff a\nb ", "a\nb"),
        ("c.txt", "", None),
        ("c.json", '"plain"', "plain"),
        ("c.json", '["one", "two"]', "one"),
        ("c.json", '{"prompt": "p", "text": "t"}', "t"),
    ],
)
def test_a_caption_beside_a_clip(name: str, content: str, text: str | None, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert caption_beside(tmp_path / "c.mp4") == text
    assert caption_beside(tmp_path / "other.mp4") is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{}", "it holds no text"),
        (b"{", "Expecting property name"),
        (b"[" * 100_000, "recursion"),
        (b'"\xff"', "utf-8"),
        (b"x" * (1 << 20) + b"x", "larger than a caption is"),
    ],
)
def test_a_caption_file_without_a_caption_is_told(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(BadCaption, match=f"caption c.json: .*{says}"):
        caption_beside(tmp_path / "c.mp4")
