"""Reading with decord 0.6: FFmpeg 4.1 of 2018 inside, no choice of streams, no word on damaged frames.

It scales with bicubic interpolation and rounds roughly, so that pixels differ a little from the `av` reader's.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidgen_video.fit import Size
from vidgen_video.header import MAY_BE_TURNED, Header
from vidgen_video.reader import Choose, Unreadable

decord: Any = import_module("decord")  # an extra: the plugin works without

CONTAINERS = (MAY_BE_TURNED, "matroska")
"""In transport and program streams, AVI files with frames out of order and raw streams it gives other frames."""
CODECS = ("h264", "mpeg4", "vp8", "vp9")
"""Frames of HEVC come out wrong after a seek, and AV1 is newer than it."""


class Decord:
    """See `Library`."""

    def __init__(self) -> None:
        decord.logging.set_level(decord.logging.ERROR)

    def reads(self, header: Header) -> bool:
        """Files with one video stream, of the kinds above."""
        known = header.container.startswith(CONTAINERS) and header.codec in CODECS
        return known and header.video_streams + header.covers == 1

    def frames(self, path: Path, header: Header, choose: Choose, scaled: Size) -> NDArray[np.uint8]:
        """See `Library`."""
        try:
            reader = decord.VideoReader(str(path), height=scaled[0], width=scaled[1], num_threads=1)
            total = len(reader)
        except (decord.DECORDError, AssertionError) as error:
            raise Unreadable(_reason(error)) from error
        wanted = choose(total)
        try:
            frames: NDArray[np.uint8] = reader.get_batch(wanted).asnumpy()
        except decord.DECORDError as error:
            raise Unreadable(_reason(error)) from error
        return frames.transpose(0, 3, 1, 2)


def _reason(error: Exception) -> str:
    """What decord says, without the places in its source and the stack that it appends."""
    return str(error).split("\n\nStack trace")[0].rpartition("Check failed: ")[2].strip().splitlines()[0]
