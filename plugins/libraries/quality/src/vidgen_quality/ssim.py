"""Structural similarity: how much the structure of one clip is that of another."""

import torch
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(clip: Tensor, real: Tensor) -> float:
    """Structural similarity of uint8 clips (3, T, H, W), at most 1, which stands for equal: the mean over frames,
    channels and every place where the whole window of 11x11 pixels (Gaussian, standard deviation 1.5) lies in the
    frame; not a number for smaller frames. Source: Wang et al. 2004, IEEE TIP 13(4), section III."""
    if min(clip.shape[2:]) < WINDOW:
        return float("nan")
    frames = [_of_frame(clip[:, t].double(), real[:, t].double()) for t in range(clip.shape[1])]
    return float(torch.stack(frames).mean())


def _of_frame(x: Tensor, y: Tensor) -> Tensor:
    """(3, H, W) each, 0 to 255."""
    mean_x, mean_y = _smoothed(x), _smoothed(y)
    variance_x, variance_y = _smoothed(x * x) - mean_x**2, _smoothed(y * y) - mean_y**2
    covariance = _smoothed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return (luminance * (2 * covariance + C2) / (variance_x + variance_y + C2)).mean()


def _smoothed(x: Tensor) -> Tensor:
    """Weighted means over the window, along rows, then columns; (3, H - 10, W - 10)."""
    return _smoothed_along(_smoothed_along(x, dim=1), dim=2)


def _smoothed_along(x: Tensor, dim: int) -> Tensor:
    """Sums of shifted pictures: for a single channel several times faster than a convolution, the more so for large
    frames."""
    at = torch.arange(WINDOW) - WINDOW // 2
    weights = torch.exp(-0.5 * (at.double() / SIGMA) ** 2)
    first, *others = (weights / weights.sum()).tolist()
    size = x.shape[dim] - WINDOW + 1
    total = x.narrow(dim, 0, size) * first
    for shift, weight in enumerate(others, start=1):
        total.add_(x.narrow(dim, shift, size), alpha=weight)
    return total
