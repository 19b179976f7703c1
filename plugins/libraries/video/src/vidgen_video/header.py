"""Opening a video: its first video stream, and what the header and the first frame say of it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from attrs import frozen
from av.container import InputContainer
from av.stream import Discard, Disposition

from vidgen_video.orientation import Orientation, orientation_of
from vidgen_video.reader import Probe, Unreadable
from vidgen_video.timeline import walk_packets

MAY_BE_TURNED = "mov,mp4"

logger = logging.getLogger(__name__)


@frozen(kw_only=True)
class Header:
    """What there is to know of a file before its frames are read.

    probe: frames, size as displayed, rate. index: of the first video stream among all streams. video_streams: how many
    there are; covers: and how many pictures besides. container, codec: FFmpeg's names. upright: shown as it is stored.
    """

    probe: Probe
    index: int
    video_streams: int
    covers: int
    container: str
    codec: str
    upright: bool


def read_header(path: Path) -> Header:
    """The header, and of formats that may be turned on display also the first frame. Raises: Unreadable."""
    with opened(path) as (container, stream):
        height, width = stream.codec_context.height, stream.codec_context.width
        orientation = Orientation()
        if container.format.name.startswith(MAY_BE_TURNED):
            first = next(decoded(container, stream), None)
            if first is not None:
                orientation = orientation_of(first)
                height, width = orientation.shown((first.height, first.width))
        num_frames = _frames_promised(container, stream)
        return Header(
            probe=Probe(num_frames=num_frames, height=height, width=width, fps=rate(stream)),
            index=stream.index,
            video_streams=video_streams(container),
            covers=len(container.streams.video) - video_streams(container),
            container=container.format.name,
            codec=stream.codec_context.name,
            upright=orientation == Orientation(),
        )


@contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """The file and its first video stream, closed afterwards whatever happens. One thread decodes.

    Raises: Unreadable, also in place of FFmpeg's errors while it is open.
    """
    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}, metadata_errors="replace") as container:
            stream = _first_video(container)
            for other in set(container.streams) - {stream}:
                other.discard = Discard.all
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            yield container, stream
    except av.error.FFmpegError as error:
        raise Unreadable(str(error.strerror)) from error


def decoded(container: InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """All frames from where the container stands."""
    for packet in walk_packets(container, stream):
        yield from packet.decode()


def rate(stream: av.VideoStream) -> float:
    """Frames a second; 0 where the file does not say."""
    known = stream.average_rate or stream.guessed_rate
    return float(known) if known else 0.0


def video_streams(container: InputContainer) -> int:
    """How many video streams there are besides cover pictures."""
    return sum(_is_video(stream) for stream in container.streams.video)


class StreamNotices:
    """Tells in the log, once of each file, that its first of several video streams is the one that is read."""

    def __init__(self) -> None:
        self._told: set[Path] = set()

    def look(self, path: Path, count: int) -> None:
        """Tell, where a file of `count` video streams is new."""
        if count > 1 and path not in self._told:
            self._told.add(path)
            logger.warning("%s: takes the first of %d video streams", path, count)


def _first_video(container: InputContainer) -> av.VideoStream:
    for stream in container.streams.video:
        if _is_video(stream):
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
    raise Unreadable(f"it has no video stream (streams found: {kinds})")


def _is_video(stream: av.VideoStream) -> bool:
    """Whether it is no cover picture."""
    return not stream.disposition & Disposition.attached_pic


def _frames_promised(container: InputContainer, stream: av.VideoStream) -> int:
    if stream.frames:
        return stream.frames
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * (stream.average_rate or 0))
    return round((container.duration or 0) / av.time_base * rate(stream))
