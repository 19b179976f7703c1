"""Reading videos with PyAV, which is FFmpeg's own libraries in Python.

Only the frames asked for are kept: seek to the key frame before them, decode forward, stop. Each frame is scaled and
turned into 8-bit RGB as it comes. One thread decodes: with more, FFmpeg has been seen to hang for good on a damaged
file, and data loading has its own worker processes anyway.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import dropwhile
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from vidgen_video.header import StreamNotices, decoded, opened, rate, read_header, video_streams
from vidgen_video.orientation import Orientation, orientation_of
from vidgen_video.reader import Choose, Clip, FitTo, Probe, Unreadable
from vidgen_video.timeline import Timeline, read_timeline, walk_packets
from vidgen_video.window import TooShort

SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
STEPS_BACK = (0, 16, 256)
"""Frames before the first one wanted to seek to, tried in turn: some formats are sought by decoding time, or not at key
frames. After the last, the file is decoded from its beginning."""
SPARED = ("h264",)
"""Decoders told to leave out frames that are neither wanted nor needed for others. That is a quarter faster; H.264
marks such frames beyond doubt, while FFmpeg's AV1 decoder gives wrong frames then."""

Ranked = tuple[int, av.VideoFrame]
Picture = Callable[[av.VideoFrame], list[NDArray[np.uint8]]]


class _Astray(Exception):
    """Seeking did not lead where the timeline said."""


class _EndsEarly(Exception):
    """The stream ends after `total` frames, before the last frame wanted."""

    def __init__(self, total: int) -> None:
        self.total = total


class AvReader:
    """The `av` reader; see `Reader`."""

    def __init__(self) -> None:
        self._notices = StreamNotices()

    def probe(self, path: Path) -> Probe:
        """Read the header, and of formats that may be turned on display also the first frame."""
        return read_header(path).probe

    def read(self, path: Path, choose: Choose, fit_to: FitTo) -> Clip:
        """Read the frames that `choose` names, (3, T, H, W) uint8 RGB."""
        with opened(path) as (container, stream):
            self._notices.look(path, video_streams(container))
            fps, picture = rate(stream), _picture_maker(fit_to)
            timeline = read_timeline(container, stream)
            promised = len(timeline.times)
            wanted, attempt = _choose(choose, promised, promised=promised), 0
            while True:
                try:
                    if attempt < len(STEPS_BACK):
                        ranked = _from_key(container, stream, timeline, wanted, STEPS_BACK[attempt])
                    else:
                        ranked = _from_start(path)
                    with closing(ranked):
                        return Clip(frames=_collect(ranked, wanted, picture), fps=fps)
                except _Astray:
                    attempt += 1
                except _EndsEarly as end:
                    wanted = _choose(choose, end.total, promised=promised)


def _choose(choose: Choose, total: int, *, promised: int) -> NDArray[np.int64]:
    """Frames wanted of a clip that has `total` and whose index speaks of `promised`."""
    try:
        wanted = choose(total)
    except TooShort as error:
        if total == promised:
            raise
        reason = f"its index promises {promised} frames, but only {total} can be decoded, and {error.needed} are needed"
        raise Unreadable(reason) from None
    assert wanted[0] >= 0 and wanted[-1] < total, "choose names frames that are not there"
    return wanted


def _from_start(path: Path) -> Generator[Ranked, None, None]:
    """All frames from the first on, counted: what no index can get wrong."""
    with opened(path) as (container, stream):
        yield from enumerate(decoded(container, stream))


def _from_key(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    timeline: Timeline,
    wanted: NDArray[np.int64],
    back: int,
) -> Generator[Ranked, None, None]:
    """Frames from a key frame at or before frame `first` on, looked for from `back` frames before that.

    Raises: _Astray, when no such key frame is reached or the frames' times contradict the timeline.
    """
    if not timeline.timed and stream.codec_context.reorder_depth:
        raise _Astray  # frames out of order and without times can be counted from the very first only
    sparing = timeline.timed and stream.codec_context.name in SPARED
    rank = -1
    for packet in _packets_from_key(container, stream, timeline, wanted[0], back):
        if sparing:
            needed = timeline.rank(packet.pts) in wanted
            stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
        for frame in packet.decode():
            before = rank
            rank = timeline.rank(frame.pts if timeline.timed else frame.dts)
            if rank <= before:
                raise _Astray
            yield rank, frame


def _packets_from_key(
    container: av.container.InputContainer, stream: av.VideoStream, timeline: Timeline, first: int, back: int
) -> Iterator[av.Packet]:
    try:
        container.seek(int(timeline.times[max(0, first - back)]), stream=stream)
    except av.error.FFmpegError:
        raise _Astray from None
    packets = dropwhile(lambda packet: not packet.is_keyframe, walk_packets(container, stream))
    key = next(packets, None)
    if key is None or not 0 <= timeline.rank(key.pts if timeline.timed else key.dts) <= first:
        raise _Astray
    yield key
    yield from packets


def _collect(frames: Iterator[Ranked], wanted: NDArray[np.int64], picture: Picture) -> NDArray[np.uint8]:
    """Pictures of the frames wanted, (3, T, H, W); one that the decoder leaves out is replaced by the next.

    A damaged frame spoils those after it up to the next key frame, of which the decoder does not tell.
    """
    clip, damaged = None, False
    done, last = 0, -1
    for last, frame in frames:
        damaged = frame.is_corrupt or (damaged and not frame.key_frame)
        if last < wanted[done]:
            continue
        if damaged:
            raise Unreadable(f"frame {last} is damaged, or one before that it builds on")
        pixels = picture(frame)
        if clip is None:
            clip = np.empty((3, len(wanted), *pixels[0].shape), np.uint8)
        while done < len(wanted) and wanted[done] <= last:
            for channel, plane in enumerate(pixels):
                clip[channel, done] = plane
            done += 1
        if done == len(wanted):
            return clip
    raise _EndsEarly(last + 1)


def _picture_maker(fit_to: FitTo) -> Picture:
    """A function from a decoded frame to its upright, scaled and cut picture: red, green and blue, (H, W) each.

    Range (full or limited) and matrix (BT.601, 709, 2020) are the frame's own; unlabelled frames count as limited
    BT.601, as FFmpeg's tools take them. Planes are made, not interleaved pixels: FFmpeg does that twice as fast.
    """
    reformatter = VideoReformatter()
    orientation: Orientation | None = None

    def picture(frame: av.VideoFrame) -> list[NDArray[np.uint8]]:
        nonlocal orientation
        orientation = orientation or orientation_of(frame)
        fit = fit_to(orientation.shown((frame.height, frame.width)))
        rows, columns = orientation.shown(fit.scaled)
        scaled = reformatter.reformat(
            frame, width=columns, height=rows, format="gbrp", interpolation=SCALING, threads=1
        )
        green, blue, red = (_pixels(plane) for plane in scaled.planes)
        window = slice(fit.top, fit.top + fit.size[0]), slice(fit.left, fit.left + fit.size[1])
        return [orientation.upright(plane[:, :columns])[window] for plane in (red, green, blue)]

    return picture


def _pixels(plane: Any) -> NDArray[np.uint8]:
    """A view of a plane, with the padding at the end of its rows."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
