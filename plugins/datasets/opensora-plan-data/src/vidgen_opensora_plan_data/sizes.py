"""Sizes of samples: limited by area and cut to a stride, or forced; and where pictures are cut for them.

Sizes are rows and columns in pixels. Source: Open-Sora-Plan v1.3, T2V_dataset and transform.
"""

from typing import NamedTuple

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

Size = tuple[int, int]
Numbers = NDArray[np.float64]

RATIOS = (0.5, 2.0)
"""Least and greatest rows / columns of a sample."""


class Box(NamedTuple):
    """A part of a picture: from row `top` and column `left` on."""

    top: int
    left: int
    height: int
    width: int


@frozen
class Fit:
    """Cut `before` out of a picture, resize that to `resized` (rows, columns), cut `after` out of the result."""

    before: Box
    resized: Size
    after: Box


def limited(height: ArrayLike, width: ArrayLike, max_hxw: int) -> tuple[Numbers, Numbers]:
    """Sizes, made smaller in proportion where their area is above `max_hxw`, to whole pixels."""
    rows, columns = np.asarray(height, np.float64), np.asarray(width, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.sqrt(max_hxw / (rows * columns))
        smaller = np.trunc(rows * factor), np.trunc(columns * factor)
    large = rows * columns > max_hxw
    return np.where(large, smaller[0], rows), np.where(large, smaller[1], columns)


def to_stride(size: Numbers, stride: int) -> Numbers:
    """The greatest multiple of `stride` that is not larger."""
    return size // stride * stride


def in_ratios(height: ArrayLike, width: ArrayLike, least: float, greatest: float) -> NDArray[np.bool_]:
    """Whether rows / columns lie between `least` and `greatest`, both included; sides of 0 and below do not."""
    rows, columns = np.asarray(height, np.float64), np.asarray(width, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = rows / columns
    return (rows > 0) & (columns > 0) & (ratio >= least) & (ratio <= greatest)


def fit_to_area(source: Size, max_hxw: int, stride: int) -> Fit:
    """Resize to the limited size, cut the centre to multiples of `stride`; a side may come to nothing."""
    rows, columns = (int(side) for side in limited(*source, max_hxw))
    height, width = rows // stride * stride, columns // stride * stride
    after = Box((rows - height) // 2, (columns - width) // 2, height, width)
    return Fit(Box(0, 0, *source), (rows, columns), after)


def fit_to_size(source: Size, size: Size) -> Fit:
    """Cut the centre to the ratio of `size`, resize that to `size`."""
    height, width = source
    ratio = size[0] / size[1]
    if height / width > ratio:
        rows, columns = int(width * ratio), width
    else:
        rows, columns = height, int(height / ratio)
    before = Box(round((height - rows) / 2), round((width - columns) / 2), rows, columns)
    return Fit(before, size, Box(0, 0, *size))
