"""Which video frames a model is shown beside the noise, and how it is told of them."""

from collections.abc import Callable

import pytest
import torch
from vidgen.conditioning.frame_mask_options import FrameMaskOptions
from vidgen.conditioning.frame_masks import blanked, training_frame_mask, video_mask
from vidgen.conditioning.latent_time import LatentTime
from vidgen.rng import Draws

Time = Callable[[int], LatentTime]


def masks(options: FrameMaskOptions, frames: int = 9, count: int = 40) -> torch.Tensor:
    return training_frame_mask(options, frames, Draws(3, [(0, row) for row in range(count)]))


def shown(kind: str, frames: int = 9, **bounds: float) -> list[list[int]]:
    """Frames that are shown, of forty clips."""
    drawn = masks(FrameMaskOptions(ratios={kind: 2.0}, **bounds), frames)
    return [(~one).nonzero().flatten().tolist() for one in drawn]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("t2iv", []), ("i2v", [0]), ("transition", [0, 8]), ("clear", list(range(9)))],
)
def test_kinds_without_a_share_show_their_frames(kind: str, expected: list[int]) -> None:
    assert shown(kind) == [expected] * 40


def test_a_continuation_shows_the_beginning() -> None:
    found = shown("continuation", min_clear_ratio=0.4, max_clear_ratio=0.8)
    assert all(one == list(range(len(one))) for one in found)
    assert {len(one) for one in found} == {3, 4, 5, 6, 7}  # 0.4 and 0.8 of 9, rounded down


def test_random_frames_are_as_many_as_their_share() -> None:
    found = shown("random_temporal", min_clear_ratio=0.5, max_clear_ratio=0.5)
    assert all(len(one) == len(set(one)) == 4 for one in found)
    assert set().union(*found) == set(range(9))


def test_a_still_is_shown_or_not() -> None:
    found = masks(FrameMaskOptions(ratios={"i2v": 5.0, "t2iv": 1.0, "clear": 1.0}), frames=1, count=60)
    assert 15 < int((~found).sum()) < 45
    assert shown("i2v", frames=1) == [[]] * 40


def test_ratios_are_shares_of_their_sum() -> None:
    clear = ~masks(FrameMaskOptions(ratios={"clear": 3.0, "t2iv": 1.0}), frames=5, count=100).any(dim=1)
    assert 60 < int(clear.sum()) < 90


def test_a_clip_has_the_same_mask_alone_and_among_others() -> None:
    options = FrameMaskOptions(ratios={"random_temporal": 1.0})
    alone = training_frame_mask(options, 9, Draws(3, [(0, 7)]))
    assert torch.equal(masks(options)[7:8], alone)
    assert not torch.equal(training_frame_mask(options, 9, Draws(4, [(0, 7)])), alone)


def test_without_options_nothing_is_shown() -> None:
    assert training_frame_mask(None, 4, Draws(0, [(1,), (2,)])).tolist() == [[True] * 4] * 2


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ({"i2w": 1.0}, "there are no masks called 'i2w'; known: t2iv, i2v, transition"),
        ({"i2v": -1.0}, "i2v is -1.0; a number of 0 or more"),
        ({"i2v": float("nan")}, "i2v is nan; a number of 0 or more"),
        ({"i2v": 0.0}, "the sum of the shares must be above 0"),
        ({}, "the sum of the shares must be above 0"),
    ],
)
def test_ratios_that_say_nothing_are_refused(ratios: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrameMaskOptions(ratios=ratios)


def test_the_least_share_is_not_above_the_largest() -> None:
    (problem,) = FrameMaskOptions(ratios={"i2v": 1.0}, min_clear_ratio=0.8, max_clear_ratio=0.2).problems()
    assert problem.text == "0.8 is above max_clear_ratio, 0.2"


def test_frames_that_are_to_be_made_are_grey() -> None:
    video = torch.rand(2, 3, 4, 5, 6) + 0.1
    mask = torch.tensor([[False, True, True, False], [True, True, True, True]])
    made = blanked(video, mask)
    assert torch.equal(made[0, :, [0, 3]], video[0, :, [0, 3]])
    assert not made[0, :, 1:3].any() and not made[1].any()


def told(time: LatentTime, mask: list[int], latents: int) -> list[list[int]]:
    """Of each latent frame, the mask of its video frames."""
    made = video_mask(torch.tensor([mask]).bool(), time, (latents, 2, 5))
    assert made.shape == (1, time.stride, latents, 2, 5)
    assert torch.equal(made, made[..., :1, :1].expand_as(made))
    return made[0, :, :, 1, 3].T.int().tolist()


def test_the_mask_tells_of_each_video_frame_in_a_latent(whole: Time) -> None:
    assert told(whole(9), [0, 1, 0, 1, 1, 1, 1, 0, 0], 3) == [[0, 0, 0, 0], [1, 0, 1, 1], [1, 1, 0, 0]]


def test_a_last_latent_with_fewer_frames_repeats_its_first(whole: Time) -> None:
    assert told(whole(7), [0, 1, 1, 0, 1, 0, 1], 3)[1:] == [[1, 1, 0, 1], [0, 0, 0, 1]]


def test_every_chunk_begins_with_a_shorter_latent(chunked: Time) -> None:
    time = chunked(34)
    numbers = [frame % 2 for frame in range(34)]
    found = told(time, numbers, time.latents)
    assert found[0] == [0] * 4 and found[5] == [1] * 4, "frames 0 and 17, which begin chunks"
    assert found[1] == [1, 0, 1, 0] and found[6] == [0, 1, 0, 1]


def test_without_a_stride_the_mask_has_one_channel(framewise: Time) -> None:
    assert told(framewise(3), [0, 1, 1], 3) == [[0], [1], [1]]
