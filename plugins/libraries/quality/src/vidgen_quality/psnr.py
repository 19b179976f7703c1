"""Peak signal-to-noise ratio: how far the pixels of one clip are from those of another."""

import math

from torch import Tensor

EQUAL = 99.0
"""dB that stand for equal clips, whose ratio has no end."""


def psnr(clip: Tensor, real: Tensor) -> float:
    """In dB, of uint8 clips (3, T, H, W): of the mean squared error over all frames together; at most 99."""
    pairs = zip(clip.unbind(dim=1), real.unbind(dim=1), strict=True)
    error = sum(int((one.int() - other.int()).square().sum()) for one, other in pairs) / clip.numel()
    return min(10 * math.log10(255**2 / error), EQUAL) if error else EQUAL
