"""The page of clips that training will see."""

import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny_run import RECIPE, merged
from vidgen.interfaces import Assignment, Bucket, Request
from vidgen_data.contact_sheet import Card, Sheet, page
from vidgen_data.viewing import _chosen


def card(frames: int, *, text: str = "a", error: str = "", height: int = 80) -> Card:
    """Frame t is grey of brightness 40 t."""
    video = np.zeros((3, frames, height, 100), np.uint8) + 40 * np.arange(frames, dtype=np.uint8)[:, None, None]
    return Card(row=3, path="p/<a>.mp4", text=text, fps=12.5, video=None if error else video, error=error)


def pictures(html: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/webp;base64,([^"]+)"', html)
    return [Image.open(BytesIO(b64decode(data))) for data in found]


def shown(*cards: Card, animated: bool = False) -> str:
    return page("T & <t>", "facts", [Sheet(name="b<1>", facts="f", cards=cards)], animated=animated)


def test_first_middle_and_last_frame_are_shown() -> None:
    found = pictures(shown(card(5)))
    assert [round(np.asarray(one.convert("L")).mean() / 40) for one in found] == [0, 2, 4]
    assert {one.size for one in found} == {(100, 80)}
    assert len(pictures(shown(card(1)))) == 1 and len(pictures(shown(card(2)))) == 2


def test_a_moving_picture_has_all_frames_up_to_a_limit() -> None:
    short, long = pictures(shown(card(5), card(100), animated=True))
    assert (short.n_frames, long.n_frames) == (5, 34)  # type: ignore[attr-defined]
    assert len(pictures(shown(card(1), animated=True))) == 1


def test_large_pictures_are_made_smaller_and_tiny_ones_keep_their_pixels() -> None:
    large, tiny = pictures(shown(card(1, height=360))), shown(card(1, height=16))
    assert large[0].size == (50, 180)
    assert 'class="tiny"' in tiny and pictures(tiny)[0].size == (100, 16)


def test_texts_from_outside_cannot_become_markup() -> None:
    html = shown(card(1, text='<script>alert("1")</script>'), card(1, error="<b>bad</b> & worse"))
    assert "<script" not in html and "<b>" not in html and "b<1>" not in html and "p/<a>" not in html
    assert "&lt;script&gt;" in html and "T &amp; &lt;t&gt;" in html and "&lt;b&gt;bad&lt;/b&gt; &amp; worse" in html


def test_the_page_needs_nothing_from_elsewhere() -> None:
    html = shown(card(2))
    assert "default-src 'none'" in html
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", html) and "url(" not in html and "@import" not in html


def test_each_bucket_gives_as_many_clips() -> None:
    """Of 2, 7 and 1 clips, 6 are wanted: 2, 3 and 1."""
    bucket = np.array([0, 0, *[1] * 7, 2, -1])
    size = (3, 5)
    assignment = Assignment(
        buckets=[Bucket(name=name, num_frames=1, size=size, batch_size=1) for name in "abc"],
        bucket=bucket, reasons=("r",), reason=np.where(bucket < 0, 0, -1),
    )  # fmt: skip
    batches = [[Request(row, 1, size)] for row in (8, 7, 6, 5, 1, 9, 4, 3, 2, 0)]
    found = {place: [one.row for one in requests] for place, requests in _chosen(batches, assignment, 6).items()}
    assert found == {0: [1, 0], 1: [8, 7, 6], 2: [9]}
    assert {place: len(one) for place, one in _chosen(batches, assignment, 1).items()} == {0: 1, 1: 1, 2: 1}


@pytest.fixture
def recipe(clip: Any, tmp_path: Path) -> str:
    """A tiny training recipe over three clips, one of them damaged."""
    for name in "abc":
        clip(f"{name}.mp4", 9)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    lines = [f'{name}.mp4,"{name} <i>, 🎬",9,34,50,30\n' for name in "abc"]
    (tmp_path / "meta.csv").write_text("path,text,num_frames,height,width,fps\n" + "".join(lines), encoding="utf-8")
    data = merged({**RECIPE, "dataset": {"type": "VideoText", "data_path": "meta.csv"}}, {"batch_size": 1})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(data))
    return "recipe.yaml"


def test_a_page_of_what_training_sees(run: Any, recipe: str, tmp_path: Path) -> None:
    done = run("preview", recipe, "-o", "p.html")
    assert done.status == 0 and "p.html: 3 clips of 1 buckets" in done.out
    assert "1 of them cannot be read; the page says why" in done.out
    html = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "a &lt;i&gt;, 🎬" in html and "b.mp4: cannot be read: Invalid data found" in html
    assert html.count("2 frames · 8×16 · 30 fps") == 2
    found = pictures(html)
    assert len(found) == 4 and {one.size for one in found} == {(16, 8)}


def test_the_page_shows_the_frames_of_the_addressed_draw(run: Any, recipe: str, tmp_path: Path) -> None:
    import vidgen
    from vidgen.rng import numpy_generator

    run("preview", recipe, "-o", "p.html", "--count", 3)
    dataset = vidgen.build("dataset", "VideoText", data_path=tmp_path / "meta.csv")
    html = (tmp_path / "p.html").read_text(encoding="utf-8")
    places = [int(row) for row in re.findall(r"30 fps · row (\d)", html)]
    video = dataset.get(places[0], 2, (8, 16), numpy_generator(RECIPE["seed"], "sample", 0, places[0])).video
    expected = [Image.fromarray(video[:, frame].permute(1, 2, 0).numpy()) for frame in range(2)]
    figures = [figure for figure in html.split("<figure>") if f"row {places[0]}<" in figure]
    for one, other in zip(pictures(figures[0]), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(one.convert("RGB")), np.asarray(other))  # tiny ones lose nothing


def test_a_page_that_cannot_be_says_why(run: Any, recipe: str, tmp_path: Path) -> None:
    (tmp_path / "there.html").touch()
    for arguments, says in {
        (recipe, "-o", "there.html"): "there.html exists",
        (recipe, "-o", "p.csv"): "p.csv: a page's name ends in .html",
        (recipe, "-o", "p.html", "num_frames=99"): "not enough rows",
        (recipe, "none.csv", "-o", "p.html"): "no such file or folder: none.csv",
        (recipe, "-o", "meta.csv/p.html"): "cannot be written",
    }.items():
        done = run("preview", *arguments)
        assert done.status == 2 and says in done.error
    assert not (tmp_path / "p.html").exists()
