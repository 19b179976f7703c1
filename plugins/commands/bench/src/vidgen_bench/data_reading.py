"""Reading videos as training does, with every reader that is installed, against decoding the file and cropping.

The other way is the usual one: decode the whole file to 8-bit RGB, take the window, make it floats, scale and crop it.
"""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter

import av
import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate
from vidgen import build
from vidgen.errors import UserError
from vidgen.interfaces import Dataset

from vidgen_bench.comparison import Alternatives, Comparison, peak_megabytes
from vidgen_bench.video_clips import VideoClip, found, long_clip, short_clips, write_clip

READERS = ("av", "decord", "torchcodec")
WHOLE = "whole file, then crop"


@frozen
class Pattern:
    """What a batch asks of a clip: `num_frames`, every `interval`-th, of `size` (rows, columns)."""

    num_frames: int
    interval: int
    size: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.num_frames} frames, interval {self.interval}, {self.size[0]}x{self.size[1]}"


PATTERNS = (
    Pattern(16, 1, (256, 256)),
    Pattern(16, 3, (240, 426)),
    Pattern(51, 1, (240, 426)),
    Pattern(51, 3, (256, 256)),
)
LONG = (250, 12)
"""Frames from one key frame to the next of the clips of ten minutes."""
FULL = Pattern(51, 1, (720, 1280))


def comparisons(folder: Path | None = None) -> Iterator[Comparison]:
    """All of them. folder: of clips, in place of the short generated ones."""
    readers = installed()
    for clip in found(folder) if folder is not None else short_clips():
        yield from (_timed(clip, pattern, reader, goal=2.0) for pattern in PATTERNS for reader in readers)
    for gop in LONG:
        clip = long_clip(gop)
        ends = (PATTERNS[0], PATTERNS[-1])
        yield from (_timed(clip, pattern, reader, goal=50.0) for pattern in ends for reader in readers)
        for path, length in ((clip.piece, "30 s"), (clip.path, "10 min")):
            name = f"memory, 51 frames of 720p from {length}, key frames every {gop}"
            yield from (_weighed(name, path, reader) for reader in readers)


def installed() -> list[str]:
    """The readers whose libraries are there."""
    return [reader for reader in READERS if _starts(reader)]


def decode_whole(path: Path, pattern: Pattern, rng: np.random.Generator) -> Tensor:
    """The usual way to a sample, (3, T, H, W) floats in [-1, 1]."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    clip = torch.from_numpy(frames[_window(len(frames), pattern, rng)]).permute(0, 3, 1, 2).float() / 255
    scale = max(new / old for new, old in zip(pattern.size, clip.shape[2:], strict=True))
    scaled = [max(round(old * scale), new) for new, old in zip(pattern.size, clip.shape[2:], strict=True)]
    clip = interpolate(clip, scaled, mode="bilinear")
    top, left = ((old - new) // 2 for new, old in zip(pattern.size, scaled, strict=True))
    cut = clip[:, :, top : top + pattern.size[0], left : left + pattern.size[1]]
    return (cut.transpose(0, 1) - 0.5) / 0.5


def seconds_of_parts(call: Callable[[], object]) -> float:
    """Wall time of one call, times the number of equal parts of which it did one, which it returns."""
    start = perf_counter()
    parts = call()
    assert isinstance(parts, int), "a call returns of how many parts it did one"
    return parts * (perf_counter() - start)


def _timed(clip: VideoClip, pattern: Pattern, reader: str, goal: float) -> Comparison:
    return Comparison(
        name=f"{clip.name}: {pattern}: {reader}",
        against=WHOLE if clip.parts == 1 else f"{WHOLE}, {clip.parts} times 30 s",
        goal=goal,
        prepare=partial(_ways, clip, pattern, reader),
        measure=seconds_of_parts,
        warm_up=int(clip.parts == 1),
    )


def _ways(clip: VideoClip, pattern: Pattern, reader: str) -> Alternatives:
    """Each call reads at another place."""
    dataset, rng, other = _dataset(clip.path, pattern, reader), np.random.default_rng(0), np.random.default_rng(0)

    def ours() -> int:
        dataset.get(0, pattern.num_frames, pattern.size, rng)
        return 1

    def theirs() -> int:
        decode_whole(clip.piece, pattern, other)
        return clip.parts

    return Alternatives(ours=ours, theirs=theirs)


def _weighed(name: str, path: Path, reader: str) -> Comparison:
    return Comparison(
        name=f"{name}: {reader}",
        against=f"{WHOLE}, of 5 s",
        goal=1.0,
        limit=300,
        unit="MB",
        prepare=partial(_weights, path, reader),
        measure=peak_megabytes,
    )


def _weights(path: Path, reader: str) -> Alternatives:
    short = path.with_name("five.mp4")
    if not short.exists():
        write_clip(short, size=FULL.size, seconds=5, gop=250)
    dataset, rng, other = _dataset(path, FULL, reader), np.random.default_rng(0), np.random.default_rng(0)
    return Alternatives(
        ours=lambda: dataset.get(0, FULL.num_frames, FULL.size, rng), theirs=lambda: decode_whole(short, FULL, other)
    )


def _starts(reader: str) -> bool:
    clip = Path(__file__)  # a dataset looks whether its first file is there, and opens none
    try:
        _dataset(clip, PATTERNS[0], reader)
    except UserError:
        return False
    return True


def _dataset(path: Path, pattern: Pattern, reader: str) -> Dataset:
    """A dataset of one clip."""
    table = Path(tempfile.mkdtemp(prefix="vidgen-bench-")) / "meta.csv"
    table.write_text(f"path,text\n{path.name},a clip\n", encoding="utf-8")
    options = {"data_path": str(table), "root": str(path.parent), "frame_interval": pattern.interval}
    dataset: Dataset = build("dataset", "VideoText", reader=reader, **options)
    return dataset


def _window(total: int, pattern: Pattern, rng: np.random.Generator) -> NDArray[np.int64]:
    length = pattern.num_frames * pattern.interval
    start = int(rng.integers(0, max(0, total - length - 1), endpoint=True))
    return np.linspace(start, min(start + length, total) - 1, pattern.num_frames).astype(np.int64)
