"""Clips whose frames tell their own number, and the folder of real clips."""

import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

HEIGHT, WIDTH = 34, 50


def numbered(number: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """A picture (H, W, 3) that holds a number below 256 in the greys of its left and right half."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:, : width // 2] = 16 * (number // 16) + 8
    picture[:, width // 2 :] = 16 * (number % 16) + 8
    return picture


def numbers_in(video: NDArray[np.uint8]) -> list[int]:
    """The numbers in the frames of a video (3, T, H, W), read from the middles of the halves."""
    rows, width = video.shape[2] // 2, video.shape[3]
    left, right = (video[:, :, rows, column].mean(axis=0) for column in (width // 4, 3 * width // 4))
    return [int(high // 16) * 16 + int(low // 16) for high, low in zip(left, right, strict=True)]


def write_video(
    path: Path,
    frames: int = 60,
    *,
    codec: str = "libx264",
    container: str | None = None,
    gop: int = 12,
    pixels: str = "yuv420p",
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    times: Callable[[int], int] = lambda number: number,
    rotation: int = 0,
    mirrored: bool = False,
    picture: Callable[[int], NDArray[np.uint8]] = numbered,
) -> Path:
    """A numbered clip of 30 frames a second."""
    with av.open(str(path), "w", format=container, options=container_options or {}) as output:
        stream = output.add_stream(codec, rate=30, options=codec_options or {})
        stream.height, stream.width = picture(0).shape[:2]
        stream.pix_fmt, stream.gop_size = pixels, gop
        if rotation or mirrored:
            stream.set_display_rotation(rotation, hflip=mirrored)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number), "rgb24")
            frame.pts = times(number)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips."""
    default = Path(__file__).resolve().parents[3].parent / "shared" / "clips"
    folder = Path(os.environ.get("VIDGEN_CLIPS", default))
    if not folder.is_dir():
        pytest.skip(f"no folder of real clips at {folder}; set VIDGEN_CLIPS")
    return folder
