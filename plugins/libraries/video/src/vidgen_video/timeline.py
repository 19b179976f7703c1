"""Where the frames of a video stream are: its frames in the order they are shown, without decoding any.

MP4 and AVI files carry an index of all frames, so that nothing beyond the header is read as long as the frame rate is
constant. Of all other files the packets are walked through once, which costs about a hundredth of decoding them.
"""

from collections.abc import Iterator

import numpy as np
from attrs import frozen
from av import Packet, VideoStream
from av.container import InputContainer
from numpy.typing import NDArray


@frozen
class Timeline:
    """The frames of a stream, in the order they are shown.

    times: of every frame, in units of the stream's time base, rising, (frames,).
    timed: a decoded frame carries its own time. If not (AVI stores none), `times` are those of packets, which only in
        streams without reordering are those of frames.
    """

    times: NDArray[np.int64]
    timed: bool

    def rank(self, time: int | None) -> int:
        """Number of the frame at `time`; -1, when there is none."""
        if time is None:
            return -1
        place = int(np.searchsorted(self.times, time))
        return place if place < len(self.times) and self.times[place] == time else -1


def read_timeline(container: InputContainer, stream: VideoStream) -> Timeline:
    """The timeline of a freshly opened stream; leaves the container anywhere, so seek afterwards."""
    timed = container.format.name != "avi"
    times = _even_times(stream, timed)
    return Timeline(times, timed) if times is not None else _walk(container, stream, timed)


def walk_packets(container: InputContainer, stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
    """Packets of the stream up to its end or to the place where the file was cut off; ends with an empty one, which
    makes a decoder give what it holds back."""
    for packet in container.demux(stream):
        if packet.is_corrupt and packet.size:
            break
        yield packet


def _even_times(stream: VideoStream, timed: bool) -> NDArray[np.int64] | None:
    """Times from the file's index, when that is complete and its frames are evenly spaced."""
    count = stream.frames
    entries = stream.index_entries
    if count < 2 or len(entries) != count or not stream.duration:
        return None
    if any(entry.is_discard for entry in entries):
        return None
    decoded = np.fromiter((entry.timestamp for entry in entries), np.int64, count)
    steps = np.diff(decoded)
    step = int(steps[0])
    if step <= 0 or (steps != step).any() or stream.duration != step * count:
        return None
    start = stream.start_time if timed else int(decoded[0])
    return None if start is None else start + step * np.arange(count)


def _walk(container: InputContainer, stream: VideoStream, timed: bool) -> Timeline:
    packets = [(p.pts, p.dts) for p in walk_packets(container, stream) if p.size and not p.is_discard]
    for column, has_times in ((0, True), (1, False)):
        times = [packet[column] for packet in packets]
        if (timed or not has_times) and None not in times and len(set(times)) == len(times):
            return Timeline(np.sort(np.array(times, np.int64)), has_times)
    return Timeline(np.arange(len(packets)), False)
