"""Which frames of a clip a sample takes: at one rate, sped up, a window of them, as many as the autoencoder takes.

Source: Open-Sora-Plan v1.3, T2V_dataset.
"""

from collections.abc import Callable

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike, NDArray

MIN_FRAMES = 29
"""No sample of a video is shorter."""

SAME_RATE = 0.1
"""Frames a second by which a clip's rate may differ from the one wanted and all its frames be taken."""

Indices = NDArray[np.int64]
Draw = Callable[[int], int]
"""The greatest number that may come -> a number from 0 to it, uniform."""


@frozen
class Clip:
    """`num_frames` frames of a file at `fps` frames a second, from frame `start` on."""

    start: float
    num_frames: float
    fps: float


def step_of(fps: ArrayLike, train_fps: float) -> NDArray[np.float64]:
    """Frames from one taken to the next; below 1 frames are repeated. fps: of the clips."""
    rates = np.asarray(fps, np.float64)
    return np.where(np.abs(rates - train_fps) < SAME_RATE, 1.0, rates / train_fps)


def resample(clip: Clip, train_fps: float) -> Indices:
    """Frames of the file that make the clip one of `train_fps` frames a second, rising."""
    step = float(step_of(clip.fps, train_fps))
    return np.arange(clip.start, clip.start + clip.num_frames, step).astype(np.int64)


def count_resampled(num_frames: ArrayLike, fps: ArrayLike, train_fps: float) -> Indices:
    """How many frames `resample` gives for each of many clips; 0 where a clip has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.ceil(np.asarray(num_frames, np.float64) / step_of(fps, train_fps))
    return np.where(np.isfinite(count) & (count > 0), count, 0).astype(np.int64)


def usable_frames(available: ArrayLike, stride: int, sp_size: int) -> Indices:
    """The most of the available frames that make whole latent frames, as many for each of `sp_size` ranks; 0 where
    that leaves fewer than 29. stride: frames per latent frame behind the first."""
    latent = (np.asarray(available, np.int64) - 1) // stride + 1
    frames = (latent - latent % sp_size - 1) * stride + 1
    return np.where(frames >= MIN_FRAMES, frames, 0)


def least_usable(stride: int, sp_size: int) -> int:
    """The least number of frames, 29 and above, that `usable_frames` keeps as it is."""
    whole = -(-(MIN_FRAMES - 1 + stride) // (stride * sp_size))
    return whole * stride * sp_size - stride + 1


def speed(available: int, num_frames: int, speed_factor: float) -> float:
    """How much faster a clip of `available` frames is played, so that `num_frames` remain; 1 for one without spare."""
    return max(1.0, min(speed_factor, available / num_frames))


def sped_up(indices: Indices, num_frames: int, speed_factor: float, *, at_least: int = 0) -> Indices:
    """Fewer of the indices, evenly over all of them.

    at_least: so many remain. The reference loses one to rounding for some lengths, and then refuses the clip.
    """
    factor = speed(len(indices), num_frames, speed_factor)
    if factor == 1:
        return indices
    kept = max(at_least, int(len(indices) / factor))
    return indices[np.linspace(0, len(indices) - 1, kept).astype(np.int64)]


def last_begin(available: int, num_frames: int) -> int:
    """The last place where a window may begin; the very last window is never taken."""
    return max(0, available - num_frames - 1)


def window(indices: Indices, num_frames: int, draw: Draw) -> Indices:
    """`num_frames` indices in a row from a place drawn, or all where there are no more; only then nothing is drawn."""
    if len(indices) <= num_frames:
        return indices
    begin = draw(last_begin(len(indices), num_frames))
    return indices[begin : begin + num_frames]
