"""What the header of one video or image says, and whether its frames can be decoded.

Everything that opens media is in this file. It runs in processes of its own, which are ended when they hang: imports no
more than PyAV and Pillow.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from attrs import frozen
from av.stream import Disposition
from PIL import Image

IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
MOVIES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".gif")
VIDEOS = (*MOVIES, ".ts", ".mts", ".m2ts")
MAY_BE_TURNED = "mov,mp4"
SLACK = 0.5
"""Seconds: rates vary, and the last frame begins before the end."""
FAILURES = (av.error.FFmpegError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class Unreadable(Exception):
    """A file is not what it should be; the text says why, without the path."""


@frozen(kw_only=True)
class Header:
    """Frames, rows and columns as displayed, frames a second (0 of a still image), name of the coding; 0 where unknown.

    counted: the number of frames is written in the file, not worked out from its length in time.
    """

    num_frames: int
    height: int
    width: int
    fps: float
    codec: str
    counted: bool


@frozen
class Task:
    """A file to look at, and how many of its frames to decode. row: of a table, for who asks."""

    path: str
    decode: int = 0
    row: int = 0


def look(task: Task) -> Header | str:
    """The header of a file, or the reason why it cannot be read."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return _image(task) if task.path.lower().endswith(IMAGES) else _video(task)
    except Unreadable as error:
        return str(error)
    except FAILURES as error:
        return " ".join((getattr(error, "strerror", None) or str(error)).split())


def is_media(name: str) -> bool:
    """Whether a file is a video or image, by its name."""
    return name.lower().endswith(IMAGES + VIDEOS)


def _image(task: Task) -> Header:
    with Image.open(task.path) as image:
        turned = image.getexif().get(0x0112, 1) >= 5
        height, width = (image.width, image.height) if turned else (image.height, image.width)
        if task.decode:
            image.load()
        codec = (image.format or "").lower()
    return Header(num_frames=1, height=height, width=width, fps=0.0, codec=codec, counted=True)


def _video(task: Task) -> Header:
    if not Path(task.path).stat().st_size:
        raise Unreadable("the file is empty")
    with _opened(task.path) as (container, stream):
        header = _header(container, stream)
        for place in range(task.decode):
            _decode(container, stream, place / task.decode)
    return header


def _header(container: av.container.InputContainer, stream: av.VideoStream) -> Header:
    height, width = stream.codec_context.height, stream.codec_context.width
    if container.format.name.startswith(MAY_BE_TURNED):
        first = next(container.decode(stream), None)  # it alone tells the display matrix
        if first is not None:
            turned = round(first.rotation / 90) % 2
            height, width = (first.width, first.height) if turned else (first.height, first.width)
    if not height or not width:
        raise Unreadable("its header tells no size")
    rate = stream.average_rate or stream.guessed_rate
    return Header(
        num_frames=stream.frames or _frames_of_duration(container, stream),
        height=height,
        width=width,
        fps=float(rate or 0),
        codec=stream.codec.canonical_name,
        counted=bool(stream.frames),
    )


def _frames_of_duration(container: av.container.InputContainer, stream: av.VideoStream) -> int:
    rate = stream.average_rate or stream.guessed_rate or 0
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * rate)
    return round((container.duration or 0) / av.time_base * rate)


def _decode(container: av.container.InputContainer, stream: av.VideoStream, place: float) -> None:
    """Decode from the key frame before a share `place` of the length up to the frame there. Raises: Unreadable."""
    length = (container.duration or 0) / av.time_base
    if stream.duration and stream.time_base:
        length = float(stream.duration * stream.time_base)
    wanted = (container.start_time or 0) / av.time_base + place * length
    if place:
        container.seek(int(wanted * av.time_base))
    reached = None
    for frame in container.decode(stream):
        reached = frame.time
        if frame.is_corrupt:
            raise Unreadable(f"the frame at second {reached or wanted:.2f} is damaged")
        if reached is None or reached >= wanted - SLACK:
            return
    end = "no frame can be decoded" if reached is None else f"its frames end at second {reached:.2f}"
    raise Unreadable(f"{end}, its header promises {length:.2f} seconds")


@contextmanager
def _opened(path: str) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """A file and its first video stream, decoded by one thread: more have been seen to hang on damaged files."""
    with av.open(path, options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
        streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
            raise Unreadable(f"it has no video stream (streams found: {kinds})")
        streams[0].thread_type = "NONE"
        streams[0].codec_context.thread_count = 1
        yield container, streams[0]
