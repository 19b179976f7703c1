"""Reading with torchcodec, which needs FFmpeg's shared libraries, versions 4 to 8, installed in the system.

It scales with FFmpeg's bilinear interpolation but rounds roughly: pixels differ a little from the `av` reader's.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidgen_video.fit import Size
from vidgen_video.header import MAY_BE_TURNED, Header
from vidgen_video.reader import Choose, Unreadable

decoders: Any = import_module("torchcodec.decoders")  # an extra: the plugin works without
transforms: Any = import_module("torchcodec.transforms")

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
            decoder = decoders.VideoDecoder(
                path,
                stream_index=header.index,
                num_ffmpeg_threads=1,
                transforms=[transforms.Resize(scaled)],
            )
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
