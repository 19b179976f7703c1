"""Which frames of a clip a sample takes: equally spaced ones of a window, which lies at a random place.

Source: Open-Sora 1.2, temporal random crop.
"""

import numpy as np
from numpy.typing import NDArray


class TooShort(Exception):
    """A clip of `total` frames has fewer than `needed`."""

    def __init__(self, total: int, needed: int) -> None:
        self.total = total
        self.needed = needed
        super().__init__(f"it has {total} frames, {needed} are asked for")


def last_start(total: int, num_frames: int, interval: int) -> int:
    """The greatest first frame of a window of num_frames * interval frames in a clip of `total`; starts are uniform on
    0 .. last_start, both included."""
    return max(0, total - num_frames * interval - 1)


def window_indices(total: int, num_frames: int, interval: int, start: int) -> NDArray[np.int64]:
    """Frames taken by a window that begins at frame `start`, rising, (num_frames,).

    Raises: TooShort, when the clip has fewer than num_frames frames from there on.
    """
    end = min(start + num_frames * interval, total)
    if end - start < num_frames:
        raise TooShort(total, num_frames)
    return np.linspace(start, end - 1, num_frames).astype(np.int64)


def random_window(total: int, num_frames: int, interval: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Frames of a window drawn from `rng`, (num_frames,). Raises: TooShort, as `window_indices`."""
    start = int(rng.integers(0, last_start(total, num_frames, interval), endpoint=True))
    return window_indices(total, num_frames, interval, start)
