"""Clips to read: those of a folder, and generated ones up to ten minutes long."""

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm")
RATE = 30
PIECE_SECONDS = 30


@frozen(kw_only=True)
class VideoClip:
    """A clip at `path`. piece: a file that `parts` times over is the clip; the clip itself, where parts is 1."""

    name: str
    path: Path
    piece: Path
    parts: int = 1


def found(folder: Path) -> Iterator[VideoClip]:
    """The videos of a folder, by name."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            yield VideoClip(name=path.name, path=path, piece=path)


def short_clips() -> Iterator[VideoClip]:
    """5 s of 240p and 30 s of 480p."""
    for name, seconds, size in (("5 s of 240p", 5, (240, 426)), ("30 s of 480p", 30, (480, 854))):
        path = _folder() / "short.mp4"
        write_clip(path, size=size, seconds=seconds, gop=250)
        yield VideoClip(name=name, path=path, piece=path)


def long_clip(gop: int, minutes: int = 10) -> VideoClip:
    """Minutes of 720p with a key frame every `gop` frames at least; 30 s of it over and over."""
    folder, parts = _folder(), minutes * 60 // PIECE_SECONDS
    write_clip(folder / "piece.mp4", size=(720, 1280), seconds=PIECE_SECONDS, gop=gop)
    repeat(folder / "piece.mp4", folder / "clip.mp4", parts)
    name = f"{minutes} min of 720p, key frames every {gop}"
    return VideoClip(name=name, path=folder / "clip.mp4", piece=folder / "piece.mp4", parts=parts)


def write_clip(path: Path, *, size: tuple[int, int], seconds: int, gop: int) -> None:
    """A texture that slides past, as H.264. size: (rows, columns)."""
    wide = _texture(size[0], 2 * size[1])
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = gop
        for number in range(seconds * RATE):
            start = 3 * number % size[1]
            picture = np.ascontiguousarray(wide[:, start : start + size[1]])
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def repeat(piece: Path, path: Path, parts: int) -> None:
    """The piece's packets `parts` times over, not coded again."""
    with av.open(str(path), "w") as output, av.open(str(piece)) as source:
        template = source.streams.video[0]
        stream, length = output.add_stream_from_template(template), template.duration or 0
        for part in range(parts):
            source.seek(0)
            for packet in source.demux(template):
                if packet.pts is not None and packet.dts is not None:
                    packet.pts, packet.dts = packet.pts + part * length, packet.dts + part * length
                    packet.stream = stream
                    output.mux(packet)


def _texture(rows: int, columns: int) -> NDArray[np.uint8]:
    """Noise at several scales, (rows, columns, 3)."""
    rng = np.random.default_rng(0)
    total = np.zeros((rows, columns, 3), np.float32)
    for scale in (4, 16, 64):
        coarse = rng.random((rows // scale + 1, columns // scale + 1, 3), np.float32)
        total += np.kron(coarse, np.ones((scale, scale, 1), np.float32))[:rows, :columns]
    return (total * (255 / total.max())).astype(np.uint8)


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="vidgen-bench-"))
