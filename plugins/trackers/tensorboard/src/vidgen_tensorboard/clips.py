"""Clips as TensorBoard can show them: animated GIFs and still PNGs.

TensorBoard has no video plugin; its image plugin plays GIFs. `SummaryWriter.add_video` makes them through moviepy,
which brings an ffmpeg of its own; PyAV and Pillow do the same.
"""

from io import BytesIO
from pathlib import Path

import av
from attrs import frozen
from PIL import Image

STILLS = frozenset({".png", ".jpg", ".jpeg", ".webp"})


@frozen
class Picture:
    """An encoded GIF or PNG and its size in pixels."""

    data: bytes
    width: int
    height: int


def read_frames(path: Path, max_side: int) -> tuple[list[Image.Image], float]:
    """RGB frames no larger than `max_side` pixels, and the frames per second (0 for a still).

    Raises: OSError or av.FFmpegError, when the file cannot be read; ValueError, when it holds no frame.
    """
    if path.suffix.lower() in STILLS:
        with Image.open(path) as still:
            return [_fit(still.convert("RGB"), max_side)], 0.0
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("no video in the file")
        stream = container.streams.video[0]
        frames = [_fit(frame.to_image(), max_side) for frame in container.decode(stream)]
        fps = float(stream.average_rate or 8)
    if not frames:
        raise ValueError("no frame in the file")
    return frames, fps


def encode(frames: list[Image.Image], fps: float) -> Picture:
    """One frame becomes a PNG, several an endless GIF (GIF times are whole hundredths of a second)."""
    first, *rest = frames
    buffer = BytesIO()
    if rest:
        first.save(buffer, "GIF", save_all=True, append_images=rest, duration=round(1000 / fps), loop=0)
    else:
        first.save(buffer, "PNG")
    return Picture(buffer.getvalue(), first.width, first.height)


def _fit(image: Image.Image, max_side: int) -> Image.Image:
    scale = max_side / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)
