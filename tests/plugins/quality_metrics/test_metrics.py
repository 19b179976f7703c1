"""Measures of clips: values that can be worked out by hand."""

import math

import pytest
import torch
import vidgen
from torch import Tensor
from vidgen.errors import UserError
from vidgen_quality.psnr import psnr
from vidgen_quality.ssim import ssim


def measured(name: str, *clips: Tensor) -> dict[str, float]:
    metric = vidgen.build("metric", name)
    for clip in clips:
        metric.update(clip, "")
    return metric.compute()


def grey(*levels: int, size: tuple[int, int] = (5, 7)) -> Tensor:
    """A clip of flat frames."""
    frames = torch.tensor(levels, dtype=torch.uint8).view(1, -1, 1, 1)
    return frames.expand(3, -1, *size).contiguous()


def moving_edge(speed: int, frames: int = 4, size: tuple[int, int] = (6, 40)) -> Tensor:
    """White to the left of an edge that moves right."""
    columns = torch.arange(size[1])
    rows = [(columns < 5 + speed * t).to(torch.uint8) * 255 for t in range(frames)]
    return torch.stack(rows)[None, :, None].expand(3, -1, size[0], -1).contiguous()


def noise(seed: int, *size: int) -> Tensor:
    return torch.randint(256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_flicker_to_and_fro_is_flash_altogether() -> None:
    found = measured("flicker", grey(100, 151, 100, 151, 100))
    assert found == pytest.approx({"flicker": 0.2, "jerk": 0.4, "flash": 0.2})


def test_a_steady_fade_neither_bends_nor_flashes() -> None:
    assert measured("flicker", grey(0, 51, 102, 153)) == pytest.approx({"flicker": 0.2, "jerk": 0, "flash": 0})


def test_an_edge_that_moves_flickers_and_bends_but_does_not_flash() -> None:
    """2 of 40 columns change from frame to frame; each comes out of a change and goes into none: twice as much."""
    found = measured("flicker", moving_edge(2))
    assert found == pytest.approx({"flicker": 2 / 40, "jerk": 4 / 40, "flash": 0})


def test_a_clip_that_is_still_has_no_flicker() -> None:
    assert measured("flicker", grey(7, 7, 7)) == {"flicker": 0.0, "jerk": 0.0, "flash": 0.0}


def test_two_frames_have_no_middle_and_one_frame_has_no_flicker() -> None:
    assert measured("flicker", grey(0, 255)) == {"flicker": 1.0}
    assert measured("flicker", grey(9)) == {}


def test_what_one_clip_lacks_is_taken_from_the_others() -> None:
    assert measured("flicker", grey(0, 255), grey(9), grey(7, 7, 7)) == {"flicker": 0.5, "jerk": 0.0, "flash": 0.0}


@pytest.mark.parametrize("speed", [0, 1, 3, 8])
def test_motion_is_the_speed_of_a_straight_edge(speed: int) -> None:
    assert measured("motion", moving_edge(speed)) == pytest.approx({"motion": speed})


def test_an_edge_across_the_motion_counts_as_still() -> None:
    """A square of 8 x 8 that moves right by 2: half of its outline moves. Corners take a little off its length."""
    clip = torch.zeros(3, 3, 20, 24, dtype=torch.uint8)
    for t in range(3):
        clip[:, t, 6:14, 4 + 2 * t : 12 + 2 * t] = 200
    assert measured("motion", clip)["motion"] == pytest.approx(1.0, rel=0.02)


def test_motion_needs_edges_and_two_frames() -> None:
    assert measured("motion", grey(0, 200)) == {}
    assert measured("motion", moving_edge(1, frames=1)) == {}


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    """A single white pixel in 5 x 5: -4, four times 1 and four times 0 around it, times 255."""
    dot = torch.zeros(3, 1, 5, 5, dtype=torch.uint8)
    dot[:, 0, 2, 2] = 255
    assert measured("sharpness", dot)["sharpness"] == pytest.approx(255**2 * 20 / 9)
    assert measured("sharpness", grey(0, 200)) == pytest.approx({"sharpness": 0})


def test_a_blurred_clip_is_less_sharp() -> None:
    clip = noise(0, 2, 16, 20)
    blurred = torch.nn.functional.avg_pool2d(clip.float(), 3, 1, 1).to(torch.uint8)
    assert measured("sharpness", blurred)["sharpness"] < measured("sharpness", clip)["sharpness"] / 5


def test_frames_without_an_inner_pixel_have_no_sharpness() -> None:
    assert measured("sharpness", noise(0, 2, 2, 9)) == {}


@pytest.mark.parametrize(("name", "formula"), [("psnr", psnr), ("ssim", ssim)])
def test_likeness_is_the_mean_over_clips(name: str, formula) -> None:
    metric = vidgen.build("metric", name)
    pairs = [(noise(i, 2, 13, 12), noise(i, 2, 13, 12) // (i + 1)) for i in (0, 1, 2)]
    values = [formula(clip, real) for clip, real in pairs]
    assert [metric.update(clip, "", real)[name] for clip, real in pairs] == values
    assert metric.compute() == pytest.approx({name: math.fsum(values) / 3})


@pytest.mark.parametrize("name", ["psnr", "ssim"])
def test_likeness_without_a_reference_is_refused(name: str) -> None:
    metric = vidgen.build("metric", name)
    with pytest.raises(UserError, match=rf"the metric {name} compares .* `references`, or leave this metric out"):
        metric.update(noise(0, 2, 13, 12), "a prompt")
    assert metric.compute() == {}


def test_a_frame_too_small_for_the_window_has_no_similarity() -> None:
    metric = vidgen.build("metric", "ssim")
    assert metric.update(noise(0, 1, 9, 30), "", noise(1, 1, 9, 30)) == {} == metric.compute()
