"""Structural similarity and contact sheets."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from vidgen_train_autoencoder.quality import C1, C2, ssim
from vidgen_train_autoencoder.sheet import contact_sheet, spread


def clip(seed: int, *size: int) -> Tensor:
    return torch.randint(256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_equal_clips_are_fully_similar() -> None:
    assert ssim(clip(0, 2, 13, 17), clip(0, 2, 13, 17)) == 1.0


def test_two_flat_clips_differ_in_brightness_alone() -> None:
    """Wang et al. 2004, equation 13: without any variance only the first factor is left."""
    dark, light = torch.full((3, 2, 12, 11), 50, dtype=torch.uint8), torch.full((3, 2, 12, 11), 150, dtype=torch.uint8)
    assert ssim(dark, light) == pytest.approx((2 * 50 * 150 + C1) / (50**2 + 150**2 + C1), rel=1e-9)


def test_a_negative_is_as_unlike_as_can_be() -> None:
    """Around a mean of 127.5 the covariance is minus the variance."""
    one = clip(1, 1, 11, 11)
    x = one[:, 0].double().numpy()
    window = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window = np.outer(window, window) / window.sum() ** 2
    mean = (x * window).sum(axis=(1, 2))
    variance = (x**2 * window).sum(axis=(1, 2)) - mean**2
    other = 255 - mean
    by_hand = (2 * mean * other + C1) * (-2 * variance + C2) / ((mean**2 + other**2 + C1) * (2 * variance + C2))
    assert ssim(one, 255 - one) == pytest.approx(by_hand.mean(), rel=1e-9)
    assert by_hand.mean() < -0.8


def test_it_agrees_with_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    one, other = clip(2, 3, 19, 26), clip(3, 3, 19, 26) // 2 + clip(2, 3, 19, 26) // 2
    theirs = [
        metrics.structural_similarity(
            one[:, t].numpy(), other[:, t].numpy(), channel_axis=0, data_range=255,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
        for t in range(3)
    ]  # fmt: skip
    assert ssim(one, other) == pytest.approx(np.mean(theirs), abs=1e-7)


def test_a_frame_without_room_for_the_window_has_no_similarity() -> None:
    assert math.isnan(ssim(clip(0, 1, 10, 30), clip(0, 1, 10, 30)))


def test_a_sheet_shows_real_over_reconstructed_and_beside_it() -> None:
    """Two clips of 5 and 2 frames, three frames of each, twice as large."""
    real, made = torch.zeros(3, 5, 4, 6, dtype=torch.uint8), torch.full((3, 5, 4, 6), 100, dtype=torch.uint8)
    short = real[:, :2], made[:, :2]
    strip = 3 * 12 + 2 * 2
    over = contact_sheet([(real, made), short], 3, "over", upscale=2)
    assert over.shape == (3, 1, 2 * (2 * 8 + 4) + 8, strip)
    assert over[0, 0, 0, 0] == 0 and over[0, 0, 12, 0] == 100 and over[0, 0, 9, 0] == 255 and over[0, 0, 30, -1] == 255
    beside = contact_sheet([(real, made), short], 3, "beside", upscale=2)
    assert beside.shape == (3, 1, 2 * 8 + 8, 2 * strip + 12)
    assert beside[0, 0, 0, 0] == 0 and beside[0, 0, 0, -1] == 100


def test_numbers_are_spread_from_the_first_to_the_last() -> None:
    assert [spread(9, 3), spread(3, 9), spread(5, 1), spread(0, 4), spread(4, 0)] == [[0, 4, 8], [0, 1, 2], [0], [], []]


def test_a_sheet_takes_the_first_the_middle_and_the_last_frame() -> None:
    numbered = torch.arange(5, dtype=torch.uint8).view(1, 5, 1, 1).expand(3, 5, 1, 1)
    sheet = contact_sheet([(numbered, numbered)], 3, "over")
    assert sheet[0, 0, 0].tolist() == [0, 255, 255, 2, 255, 255, 4]
