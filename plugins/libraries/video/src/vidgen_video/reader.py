"""What reading a video means, whichever library does it."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from vidgen_video.fit import Fit, Size

Choose = Callable[[int], NDArray[np.int64]]
"""Number of frames in a clip -> the frames wanted, rising."""

FitTo = Callable[[Size], Fit]
"""Size (rows, columns) of a frame as displayed -> what to make of it."""


class Unreadable(Exception):
    """A file is not what it should be; the text is the library's reason, without the path."""


@frozen(kw_only=True)
class Probe:
    """What a file's header says of its first video stream: frames, rows and columns as displayed, frames a second."""

    num_frames: int
    height: int
    width: int
    fps: float


@frozen(kw_only=True)
class Clip:
    """Frames of a video, `frames` (3, T, H, W) uint8 RGB, and the frames a second of the file they come from."""

    frames: NDArray[np.uint8]
    fps: float


class Reader(Protocol):
    """Reads videos, always their first video stream (cover pictures of audio files are none). Holds no open file, so
    that it can be shared by and sent to processes."""

    def probe(self, path: Path) -> Probe:
        """Read the header. Raises: Unreadable."""
        ...

    def read(self, path: Path, choose: Choose, fit_to: FitTo) -> Clip:
        """Read the frames that `choose` names, made upright and cut by `fit_to`; frame k is the k-th one a player
        shows. When the file turns out to hold fewer frames than it says, `choose` is asked once more with the true
        number. Raises: Unreadable; and what `choose` raises."""
        ...
