"""Grids: every sample in its place, one file for each size, and no half of one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from tiny_run import RECIPE, merged
from vidgen import RunError, UserError
from vidgen.engine import grid, media
from vidgen.engine.grid import GAP, PAPER, write_grids
from vidgen.interfaces import Media

PROMPTS = ["a red circle moving left", "a blue square moving up", "a green triangle moving down"]


def clip(folder: Path, name: str, size: tuple[int, int, int] = (2, 8, 16), upscale: int = 1, grey: int = 0) -> Media:
    """A clip whose frames get lighter by 40."""
    frames, rows, columns = size
    levels = (grey + 40 * torch.arange(frames)).to(torch.uint8).view(1, -1, 1, 1)
    path = media.write(folder / name, levels.expand(3, frames, rows, columns), 6.0, {}, upscale)
    return Media(path, f"prompt {name}", size)


def greys(video: torch.Tensor) -> list[float]:
    return [round(value, -1) for value in video.float().mean(dim=(0, 2, 3)).tolist()]


def test_samples_stand_row_by_row_with_every_frame(tmp_path: Path) -> None:
    samples = [clip(tmp_path, str(i), grey=50 * i) for i in range(3)]
    (path,) = write_grids(samples, 2, 1)
    made = media.read(path)
    assert path.name == "grid.mp4" and media.frame_rate(path) == 6.0
    assert made.shape == (3, 2, 8 + GAP + 8, 16 + GAP + 16)
    corners = [made[..., :8, :16], made[..., :8, -16:], made[..., -8:, :16]]
    assert [greys(one) for one in corners] == [[0, 40], [50, 90], [100, 140]]
    assert (made[..., -6:, -14:].int() - PAPER).abs().max() <= 8, "the place of a fourth one is empty"
    assert media.provenance(path)["grid"] == ["0.mp4", "1.mp4", "2.mp4"]


def test_pictures_make_a_picture(tmp_path: Path) -> None:
    (path,) = write_grids([clip(tmp_path, str(i), (1, 7, 13), grey=100) for i in range(2)], 5, 1)
    assert path.name == "grid.png" and media.read(path).shape == (3, 1, 7, 13 + GAP + 13)


def test_every_size_has_its_own_and_odd_or_enlarged_ones_are_not_padded(tmp_path: Path) -> None:
    samples = [clip(tmp_path, "a", (2, 7, 13), 3), clip(tmp_path, "b"), clip(tmp_path, "c", (2, 7, 13), 3)]
    samples[1] = clip(tmp_path, "b", (2, 8, 16), 3)
    paths = write_grids(samples, 2, 3)
    assert [path.name for path in paths] == ["grid_2x7x13.mp4", "grid_2x8x16.mp4"]
    assert media.read(paths[0]).shape[2:] == (7 * 3 + 1, 13 * 3 + GAP + 13 * 3)
    assert greys(media.read(paths[0])[..., : 7 * 3, : 13 * 3]) == [0, 40]


def test_a_clip_that_is_shorter_than_it_should_be_leaves_no_half_grid(tmp_path: Path) -> None:
    samples = [clip(tmp_path, "a"), clip(tmp_path, "b", (1, 8, 16))]
    samples[1] = Media(samples[1].path, "b", (2, 8, 16))
    with pytest.raises(RunError, match=r"b\.png is shorter than the 2 frames"):
        write_grids(samples, 2, 1)
    assert not list(tmp_path.glob("*grid*"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step that sampled with a grid at its end."""
    outputs = tmp_path_factory.mktemp("grid") / "run"
    changes = {"max_steps": 1, "sample": {"prompts": PROMPTS, "grid": 3}}
    vidgen.run(vidgen.load_recipe(merged({**RECIPE, "outputs": str(outputs)}, changes)))
    return outputs


@pytest.fixture
def sample(trained: Path, tmp_path: Path) -> Callable[..., Path]:
    def run(**changes: Any) -> Path:
        recipe = {"job": "sample", "checkpoint": str(trained), "prompts": PROMPTS, "grid": 2, **changes}
        vidgen.run(vidgen.load_recipe({**recipe, "outputs": str(tmp_path / "made")}))
        return tmp_path / "made"

    return run


def test_a_run_writes_it_and_a_later_one_with_more_samples_replaces_it(sample: Callable[..., Path]) -> None:
    folder = sample(prompts=PROMPTS[:2])
    assert media.read(folder / "grid.mp4").shape == (3, 2, 8, 16 + GAP + 16)
    sample()
    assert media.read(folder / "grid.mp4").shape == (3, 2, 8 + GAP + 8, 16 + GAP + 16)
    assert len(list(folder.glob("sample_*.mp4"))) == 3


def test_training_writes_it_too(trained: Path) -> None:
    (path,) = (trained / "samples").rglob("grid.mp4")
    assert media.read(path).shape == (3, 2, 8, 3 * 16 + 2 * GAP)


def test_a_sample_of_the_same_name_is_refused_before_anything_is_made(sample: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="a sample would be called 'grid', which is the grid's name"):
        sample(prompts=["grid"], prompt_as_path=True)


def test_a_stopped_run_writes_none(sample: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from vidgen.engine.sampler import Sampler

    run = Sampler.run
    monkeypatch.setattr(Sampler, "run", lambda self, folder, stopped, **k: run(self, folder, lambda: True, **k))
    monkeypatch.setattr(grid, "write_grids", lambda *_: pytest.fail("samples are missing"))
    assert not list(sample().glob("*.mp4"))
