"""Finding and reading clips, reading ahead, the sheet, and recipes that cannot be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from torch import Tensor
from vidgen.engine import media
from vidgen.errors import RecipeError, RunError, UserError
from vidgen_evaluate.clips import Clip, clips_of, read
from vidgen_evaluate.pairs import Pair, read_ahead
from vidgen_evaluate.worst_and_best import thumbnails

Run = Callable[..., Path]


def test_clips_are_named_below_the_folder_with_a_suffix_where_two_would_be_one(
    tmp_path: Path, write: Callable[..., Path], clip_of: Callable[..., Tensor]
) -> None:
    for name, frames in {"b": 3, "sub/a": 1, "sub/b": 3, "sub/.c": 1, "out/d": 1}.items():
        write(tmp_path / name, clip_of(0, frames, 6, 8), name)
    write(tmp_path / "b", clip_of(0, 1, 6, 8), None)
    (tmp_path / "notes.txt").write_text("no clip")
    found = {clip.name: clip.prompt for clip in clips_of(tmp_path, "samples", outputs=tmp_path / "out")}
    assert found == {"b.mp4": "b", "b.png": None, "sub/a": "sub/a", "sub/b": "sub/b"}
    assert [clip.name for clip in clips_of(tmp_path, "samples", pattern="a*")] == ["sub/a"]


def test_a_folder_without_clips_is_refused(folder: Path, evaluate: Run) -> None:
    (folder / "none").mkdir()
    with pytest.raises(UserError, match=r"samples: no video and no picture in .*none or below it \(looked for \.avi"):
        evaluate(samples=str(folder / "none"))
    with pytest.raises(UserError, match=r"samples: .*nowhere is no folder\. .* samples=FOLDER"):
        evaluate(samples=str(folder / "nowhere"))
    with pytest.raises(UserError, match=r"no picture whose name is like z\* in "):
        evaluate(pattern="z*")
    with pytest.raises(UserError, match="against: no video and no picture in"):
        evaluate(against=str(folder / "none"))


def test_no_more_frames_are_read_than_asked_for(tmp_path: Path, write: Callable[..., Path], clip_of: Callable) -> None:
    path = write(tmp_path / "v", clip_of(0, 5, 6, 8))
    assert (read(path).shape, read(path, most=2).shape) == ((3, 5, 6, 8), (3, 2, 6, 8))


def test_metadata_that_are_no_mapping_have_no_prompt(tmp_path: Path, clip_of: Callable[..., Tensor]) -> None:
    for about in ([1], {"prompt": 3}):
        path = media.write(tmp_path / "a", clip_of(0, 1, 4, 5), 1.0, about)
        assert [clip.prompt for clip in clips_of(tmp_path, "samples")] == [None], path


def test_a_file_without_a_video_stream_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.webm").write_bytes(b"")
    with pytest.raises(RunError, match=r"a\.webm cannot be read as a picture or video"):
        read(tmp_path / "a.webm")


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_pairs_come_in_order_and_few_are_read_ahead(num_workers: int) -> None:
    begun: list[str] = []

    def read_one(clip: Clip) -> Pair:
        begun.append(clip.name)
        return Pair(clip=clip)

    clips = [Clip(path=Path(str(number)), name=str(number), prompt=None) for number in range(9)]
    seen = []
    for pair in read_ahead(read_one, clips, num_workers):
        seen.append(pair.clip.name)
        assert len(begun) <= len(seen) + num_workers
    assert seen == [clip.name for clip in clips]


def test_workers_change_no_number(evaluate: Run) -> None:
    tables = [(evaluate(f"out{n}", num_workers=n) / "clip_scores.csv").read_text() for n in (0, 3)]
    assert tables[0] == tables[1]


def test_the_sheet_shows_the_worst_first_below_their_references(evaluate: Run) -> None:
    """Of three clips the worst and the best: 13 x 19, enlarged 6 times; 16 rows of caption, then 4 between, then 8."""
    sheet = media.read(evaluate(sheet_clips=1) / "worst_and_best.png")
    rows = 16 + 2 * 6 * 13 + 4
    assert sheet.shape == (3, 1, 2 * rows + 8, 6 * 19)
    clips = sheet[:, 0].int()
    for top, error in ((0, 51), (rows + 8, 0)):
        reference = clips[:, top + 16 : top + 16 + 78]
        sample = clips[:, top + 16 + 78 + 4 : top + rows]
        assert (sample - reference == error).all()


def test_what_the_sheet_goes_by_can_be_chosen_and_must_be_there(evaluate: Run, folder: Path) -> None:
    evaluate("by sharpness", metrics=[{"type": "psnr"}, {"type": "sharpness"}], sheet_by="sharpness")
    assert (folder / "by sharpness" / "worst_and_best.png").exists()
    assert not (evaluate("none", sheet_clips=0) / "worst_and_best.png").exists()
    with pytest.raises(UserError, match=r"sheet_by: no clip has a value 'beauty'\. There are psnr\."):
        evaluate("wrong", sheet_by="beauty")
    assert (folder / "wrong" / "clip_scores.csv").exists()


@pytest.mark.parametrize(("size", "shown"), [((40, 20), (120, 60)), ((100, 90), (100, 90)), ((300, 512), (150, 256))])
def test_frames_on_the_sheet_are_of_a_size_to_look_at(size: tuple[int, int], shown: tuple[int, int]) -> None:
    video = torch.full((3, 5, *size), 77, dtype=torch.uint8)
    small = thumbnails(video, 3)
    assert small.shape == (3, 3, *shown) and (small == 77).all()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"metrics": []}, "metrics: missing"),
        ({"samples": "mine", "match": "prompt"}, "match: there is nothing to match: no references are named"),
        ({"against": "mine"}, "against: is the folder of the samples themselves"),
        ({"outputs": "."}, "outputs: . holds the clips of `samples`"),
        ({"references": "nowhere"}, "references: no such file or folder: nowhere"),
        ({"num_workers": -1}, "num_workers"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(RecipeError) as caught:
        vidgen.load_recipe({"job": "evaluate", "samples": "mine", "metrics": [{"type": "flicker"}], **keys})
    assert said in str(caught.value)


def test_the_folder_must_be_named() -> None:
    with pytest.raises(RecipeError, match="samples: missing"):
        vidgen.load_recipe({"job": "evaluate", "metrics": [{"type": "flicker"}]})
