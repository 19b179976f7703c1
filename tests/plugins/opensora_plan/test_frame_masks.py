"""Which video frames an inpainting model is shown, and how."""

import numpy as np
import pytest
import torch
from vidgen.rng import numpy_generator
from vidgen_opensora_plan.frame_masks import FrameMasks, blanked, video_mask


def drawn(kind: str, frames: int = 9, number: int = 0, **bounds: float) -> list[int]:
    """Frames that are shown."""
    masks = FrameMasks(ratios={kind: 2.0}, **bounds)
    return np.flatnonzero(~masks.draw(frames, numpy_generator(3, "masks", number))).tolist()


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("t2iv", []), ("i2v", [0]), ("transition", [0, 8]), ("clear", list(range(9)))],
)
def test_kinds_without_a_share_show_their_frames(kind: str, shown: list[int]) -> None:
    assert drawn(kind) == shown


def test_a_continuation_shows_the_beginning() -> None:
    found = [drawn("continuation", number=i, min_clear_ratio=0.3, max_clear_ratio=0.8) for i in range(40)]
    assert all(one == list(range(len(one))) for one in found)
    assert {len(one) for one in found} == {2, 3, 4, 5, 6, 7}  # 0.3 and 0.8 of 9, rounded down


def test_random_frames_are_as_many_as_their_share() -> None:
    found = [drawn("random_temporal", number=i, min_clear_ratio=0.5, max_clear_ratio=0.5) for i in range(40)]
    assert all(len(one) == len(set(one)) == 4 for one in found)
    assert set().union(*found) == set(range(9))


def test_a_still_is_shown_or_not() -> None:
    masks = FrameMasks(ratios={"i2v": 5.0, "t2iv": 1.0, "clear": 1.0})
    shown = [not masks.draw(1, numpy_generator(3, "masks", i))[0] for i in range(60)]
    assert 15 < sum(shown) < 45
    assert drawn("i2v", frames=1) == []


def test_ratios_are_shares_of_their_sum() -> None:
    masks = FrameMasks(ratios={"clear": 3.0, "t2iv": 1.0})
    assert 60 < sum(not masks.draw(5, numpy_generator(1, "masks", i)).any() for i in range(100)) < 90


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ({"i2w": 1.0}, "'ratios' must be in"),
        ({"i2v": -1.0}, "'ratios' must be >= 0"),
        ({"i2v": 0.0}, "'ratios' must have a sum above 0: {'i2v': 0.0}"),
        ({}, "'ratios' must have a sum above 0"),
    ],
)
def test_ratios_that_say_nothing_are_refused(ratios: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FrameMasks(ratios=ratios)


def test_frames_that_are_to_be_made_are_grey() -> None:
    video = torch.rand(2, 3, 4, 5, 6) + 0.1
    mask = torch.tensor([[False, True, True, False], [True, True, True, True]])
    made = blanked(video, mask)
    assert torch.equal(made[0, :, [0, 3]], video[0, :, [0, 3]])
    assert not made[0, :, 1:3].any()
    assert not made[1].any()


def test_the_mask_tells_of_each_video_frame_in_a_latent() -> None:
    mask = torch.tensor([[0, 1, 0, 1, 1, 1, 1, 0, 0]])
    made = video_mask(mask, (3, 2, 5), stride=4)
    assert made.shape == (1, 4, 3, 2, 5)
    assert made[0, :, :, 1, 3].T.tolist() == [[0, 0, 0, 0], [1, 0, 1, 1], [1, 1, 0, 0]]
    assert torch.equal(made, made[..., :1, :1].expand_as(made))


def test_without_a_stride_the_mask_has_one_channel() -> None:
    assert video_mask(torch.tensor([[0, 1, 1]]), (3, 1, 1), stride=1).flatten().tolist() == [0, 1, 1]
