"""Reading with another library what that library reads right, and the rest with PyAV.

The other libraries do not say when they take another stream than the first, or another frame than the one asked for.
So each names what it reads right (found by comparing every frame, see `tests/plugins/video_text`); files of any other
kind, and all that are turned or mirrored on display, go to the `av` reader.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vidgen_video.av_reader import AvReader
from vidgen_video.fit import Size
from vidgen_video.header import Header, StreamNotices, read_header
from vidgen_video.reader import Choose, Clip, FitTo, Probe


class Library(Protocol):
    """A library that reads videos."""

    def reads(self, header: Header) -> bool:
        """Whether it reads an upright file of this kind right."""
        ...

    def frames(self, path: Path, header: Header, choose: Choose, scaled: Size) -> NDArray[np.uint8]:
        """The frames that `choose` names, scaled to (rows, columns): (T, 3, rows, columns) RGB. Raises: Unreadable."""
        ...


class GuardedReader:
    """A reader that asks `library` where it can; see `Reader`."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._av = AvReader()
        self._notices = StreamNotices()

    def probe(self, path: Path) -> Probe:
        """Read the header."""
        return self._av.probe(path)

    def read(self, path: Path, choose: Choose, fit_to: FitTo) -> Clip:
        """Read the frames that `choose` names, (3, T, H, W) uint8 RGB."""
        header = read_header(path)
        if not header.upright or not self._library.reads(header):
            return self._av.read(path, choose, fit_to)
        self._notices.look(path, header.video_streams)
        fit = fit_to((header.probe.height, header.probe.width))
        frames = self._library.frames(path, header, choose, fit.scaled)
        rows, columns = (
            slice(start, start + length) for start, length in zip((fit.top, fit.left), fit.size, strict=True)
        )
        return Clip(frames=np.ascontiguousarray(frames[..., rows, columns].swapaxes(0, 1)), fps=header.probe.fps)
