"""Reading with torchcodec, which needs FFmpeg's shared libraries, versions 4 to 8, installed in the system.

It scales with FFmpeg's bilinear interpolation but rounds roughly: pixels differ a little from the `av` reader's.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torchcodec.decoders import VideoDecoder
from torchcodec.transforms import Resize

from vidgen_video_text.fit import Size
from vidgen_video_text.header import MAY_BE_TURNED, Header
from vidgen_video_text.reader import Choose, Unreadable

CONTAINERS = (MAY_BE_TURNED, "matroska")
"""In transport and program streams, AVI files with frames out of order and raw streams it gives other frames."""


class TorchCodec:
    """See `Library`."""

    def reads(self, header: Header) -> bool:
        """Any codec in the containers above."""
        return header.container.startswith(CONTAINERS)

    def frames(self, path: Path, header: Header, choose: Choose, scaled: Size) -> NDArray[np.uint8]:
        """See `Library`."""
        try:
            decoder = VideoDecoder(path, stream_index=header.index, num_ffmpeg_threads=1, transforms=[Resize(scaled)])
        except (RuntimeError, ValueError) as error:
            raise Unreadable(_reason(error)) from error
        wanted = choose(len(decoder))
        try:
            frames: NDArray[np.uint8] = decoder.get_frames_at(wanted.tolist()).data.numpy()
        except RuntimeError as error:
            raise Unreadable(_reason(error)) from error
        return frames


def _reason(error: Exception) -> str:
    """What torchcodec says, without the place in its source."""
    return str(error).splitlines()[0].rpartition(".cpp:")[2]
