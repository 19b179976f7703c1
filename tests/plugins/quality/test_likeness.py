"""How much two clips are alike: structural similarity and the ratio of signal to noise."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from vidgen.engine import comparison
from vidgen_quality.psnr import psnr
from vidgen_quality.ssim import C1, C2, ssim


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


def test_an_error_of_five_everywhere_is_34_dB() -> None:
    """10 log10(255^2 / 5^2), whichever is the larger one; bytes do not wrap around."""
    dark, light = torch.full((3, 2, 3, 5), 2, dtype=torch.uint8), torch.full((3, 2, 3, 5), 7, dtype=torch.uint8)
    assert psnr(dark, light) == psnr(light, dark) == pytest.approx(20 * math.log10(51), rel=1e-12)


def test_the_error_is_that_of_all_frames_together() -> None:
    """One of four frames is off by 10: a mean squared error of 25."""
    real = clip(0, 4, 3, 5) // 2
    made = real.clone()
    made[:, 1] += 10
    assert psnr(made, real) == pytest.approx(20 * math.log10(51), rel=1e-12)


def test_99_dB_stands_for_equal_clips_and_there_is_nothing_above() -> None:
    real = torch.zeros(3, 9, 70, 90, dtype=torch.uint8)
    made = real.clone()
    assert psnr(made, real) == 99.0
    made[0, 0, 0, 0] = 1
    assert psnr(made, real) == 99.0


def test_the_ratio_is_that_of_comparisons_within_training() -> None:
    assert psnr(clip(4, 3, 5, 7), clip(5, 3, 5, 7)) == pytest.approx(
        comparison.psnr(clip(4, 3, 5, 7), clip(5, 3, 5, 7)), rel=1e-6
    )


def test_clips_of_different_lengths_are_not_compared() -> None:
    with pytest.raises(ValueError, match="zip"):
        psnr(clip(0, 2, 3, 5), clip(0, 3, 3, 5))
