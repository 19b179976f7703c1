"""Clips to reconstruct: files of a folder, or rows of a dataset."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import torch
from attrs import frozen
from PIL import Image, ImageOps
from torch import Tensor
from vidgen import weights
from vidgen.engine.source_clip import covering
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Dataset
from vidgen.rng import numpy_generator

STILLS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif"})

Size2 = tuple[int, int]


@frozen(kw_only=True)
class Cut:
    """What is taken of a file. num_frames: its first ones, None for all; every `interval`-th. size: (rows, columns) to
    cover and cut from the centre; None leaves frames as they are. Pictures are clips of one frame."""

    num_frames: int | None
    interval: int
    size: Size2 | None


@frozen(kw_only=True)
class Clip:
    """name: path of the reconstruction below its folder, without suffix. source: what it is called in the table.

    identity: names what the file or row holds; raises OSError or VidgenError. load: (3, T, H, W) uint8 and frames per
    second; raises UserError for a clip that is too short, RunError for one that cannot be read.
    """

    name: str
    source: str
    identity: Callable[[], str]
    load: Callable[[], tuple[Tensor, float]]


def clips_of_folder(folder: Path, outputs: Path, cut: Cut) -> list[Clip]:
    """Every video and picture below `folder`, sorted, but what lies in `outputs`. Raises: UserError without any."""
    if not folder.is_dir():
        raise UserError(f"input: {folder} is no folder. Give the folder that holds the clips.")
    known, own = STILLS | VIDEOS, outputs.resolve()
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in known and path.is_file()]
    paths = [path for path in paths if own not in path.resolve().parents]
    if not paths:
        kinds = ", ".join(sorted(known))
        raise UserError(f"input: no video and no picture in {folder} or below it (looked for {kinds}).")
    stems = Counter(path.with_suffix("") for path in paths)
    return [_of_file(path, folder, unique=stems[path.with_suffix("")] == 1, cut=cut) for path in paths]


def clips_of_dataset(dataset: Dataset, num_frames: int, size: Size2, seed: int) -> list[Clip]:
    """Every row, in order."""

    def clip(row: int) -> Clip:
        def load() -> tuple[Tensor, float]:
            sample = dataset.get(row, num_frames, size, numpy_generator(seed, "reconstruct", row))
            return sample.video, sample.fps or 1.0

        name = f"row_{row:05d}"
        return Clip(name=name, source=name, identity=lambda: dataset.identity(row), load=load)

    return [clip(row) for row in range(dataset.table.num_rows)]


def _of_file(path: Path, folder: Path, *, unique: bool, cut: Cut) -> Clip:
    source = path.relative_to(folder)
    return Clip(
        name=(source.with_suffix("") if unique else source).as_posix(),
        source=source.as_posix(),
        identity=lambda: weights.file_fingerprint(path),
        load=lambda: read_clip(path, cut),
    )


def read_clip(path: Path, cut: Cut) -> tuple[Tensor, float]:
    """(3, T, H, W) uint8 and frames per second. Raises: UserError, when it is too short; RunError, when it cannot be
    read."""
    try:
        if path.suffix.lower() in STILLS:
            with Image.open(path) as image:
                frames, fps = [_fitted(np.asarray(ImageOps.exif_transpose(image).convert("RGB")), cut.size)], 1.0
            return torch.stack(frames, dim=1), fps
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise RunError(f"{path} has no video stream")
            rate = container.streams.video[0].average_rate
            frames = [_fitted(frame.to_ndarray(format="rgb24"), cut.size) for frame in _frames(container, cut)]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, av.FFmpegError) as error:
        raise RunError(f"{path} cannot be read ({error})") from error
    if not frames or len(frames) < (cut.num_frames or 1):
        every = f", taking one of {cut.interval}" if cut.interval > 1 else ""
        raise UserError(f"{path} gives {len(frames)} frames{every}; {cut.num_frames or 1} are asked for")
    return torch.stack(frames, dim=1), float(rate or 1) / cut.interval


def _frames(container: "av.container.InputContainer", cut: Cut) -> Iterator[av.VideoFrame]:
    """No frame is decoded after the last one wanted."""
    last = None if cut.num_frames is None else (cut.num_frames - 1) * cut.interval
    for number, frame in enumerate(container.decode(video=0)):
        if number % cut.interval == 0:
            yield frame
        if number == last:
            return


def _fitted(pixels: np.ndarray, size: Size2 | None) -> Tensor:
    """(H, W, 3) to (3, *size); None: as large as it is."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1) if size is None else covering(pixels, size)
