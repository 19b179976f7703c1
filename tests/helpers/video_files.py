"""Clips whose frames tell their own number, and the folder of real clips."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from vidgen.errors import UserError
from vidgen_video.reader import Reader
from vidgen_video.readers import READERS, open_reader

HEIGHT, WIDTH = 34, 50

Picture = Callable[[int], NDArray[np.uint8]]


def numbered(number: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) that holds a number below 256 in the greys of its left and right half."""
    height, width = HEIGHT, WIDTH
    picture = np.empty((height, width, 3), np.uint8)
    picture[:, : width // 2] = 16 * (number // 16) + 8
    picture[:, width // 2 :] = 16 * (number % 16) + 8
    return picture


@pytest.fixture
def numbers_in() -> Callable[[Any], list[int]]:
    """The numbers in the frames of a numbered video (3, T, H, W), read from the middles of the halves."""

    def read(video: Any) -> list[int]:
        pixels = np.asarray(video)
        row, width = pixels.shape[2] // 2, pixels.shape[3]
        left, right = (pixels[:, :, row, column].mean(axis=0) for column in (width // 4, 3 * width // 4))
        return [int(high // 16) * 16 + int(low // 16) for high, low in zip(left, right, strict=True)]

    return read


@pytest.fixture
def write_video(tmp_path: Path) -> Callable[..., Path]:
    """Writes a clip of 30 frames a second, numbered unless told otherwise, into `tmp_path`."""

    def write(
        name: str,
        frames: int = 60,
        *,
        codec: str = "libx264",
        container: str | None = None,
        gop: int = 12,
        pixels: str = "yuv420p",
        codec_options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
        time: Callable[[int], int] = int,
        turned: int = 0,
        mirrored: bool = False,
        colours: tuple[int, int] | None = None,
        picture: Picture = numbered,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w", format=container, options=container_options or {}) as output:
            stream = output.add_stream(codec, rate=30, options=codec_options or {})
            stream.height, stream.width = picture(0).shape[:2]
            stream.pix_fmt, stream.codec_context.gop_size = pixels, gop
            if turned or mirrored:
                stream.set_display_rotation(turned, hflip=mirrored)
            if colours:
                stream.codec_context.colorspace, stream.codec_context.color_range = colours
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(picture(number), "rgb24")
                if colours:
                    frame = frame.reformat(format=pixels, dst_colorspace=colours[0], dst_color_range=colours[1])
                frame.pts, frame.time_base = time(number), Fraction(1, 30)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return path

    return write


@pytest.fixture(scope="session", params=sorted(READERS))
def reader(request: pytest.FixtureRequest) -> Reader:
    """Every reader whose library is installed."""
    try:
        return open_reader(request.param)
    except UserError as error:
        pytest.skip(str(error).splitlines()[0])


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips."""
    default = Path(__file__).resolve().parents[2].parent / "shared" / "clips"
    folder = Path(os.environ.get("VIDGEN_CLIPS", default))
    if not folder.is_dir():
        pytest.skip(f"no folder of real clips at {folder}; set VIDGEN_CLIPS")
    return folder
