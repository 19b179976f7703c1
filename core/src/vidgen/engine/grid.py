"""Grids: all samples of one size side by side, as one video or picture."""

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidgen.engine import media
from vidgen.engine.tasks import GRID
from vidgen.errors import RunError
from vidgen.interfaces import Media, Size3

LOG = logging.getLogger("vidgen")

GAP, PAPER = 4, 255


def write_grids(samples: Sequence[Media], columns: int, upscale: int) -> list[Path]:
    """`grid.mp4`, or `grid.png` (or .jpg) of pictures, beside the samples, in their order, row by row; where samples
    have several sizes one for each, such as `grid_17x240x426.mp4`. Frame by frame, so that memory does not grow with
    the clips' length. One of an earlier run is replaced.

    columns: samples in a row. upscale: how many times the files are enlarged. Raises: RunError.
    """
    groups: dict[Size3, list[Media]] = {}
    for sample in samples:
        groups.setdefault(sample.size, []).append(sample)
    written = []
    for size, group in groups.items():
        name = GRID if len(groups) == 1 else f"{GRID}_{'x'.join(map(str, size))}"
        path = group[0].path.with_name(name + group[0].path.suffix)
        origin = {"grid": [sample.path.name for sample in group], "prompts": [sample.prompt for sample in group]}
        with media.ClipFile(path, fps=media.frame_rate(group[0].path), provenance=origin) as file:
            for frame in _frames(group, columns, upscale):
                file.append(frame)
        written.append(path)
    for path in written:
        LOG.info("grid: %s", path)
    return written


def _frames(samples: Sequence[Media], columns: int, upscale: int) -> Iterator[Tensor]:
    """(3, 1, H, W) uint8 each, as many as one sample has."""
    rows, width = (side * upscale for side in samples[0].size[1:])
    across, down = min(columns, len(samples)), -(-len(samples) // columns)
    shape = (3, 1, down * (rows + GAP) - GAP, across * (width + GAP) - GAP)
    with closing(_together(samples)) as frames:
        for pictures in frames:
            sheet = torch.full(shape, PAPER, dtype=torch.uint8)
            for place, picture in enumerate(pictures):
                top, left = place // columns * (rows + GAP), place % columns * (width + GAP)
                sheet[:, 0, top : top + rows, left : left + width] = picture[:, :rows, :width]
            yield sheet


def _together(samples: Sequence[Media]) -> Generator[list[Tensor], None, None]:
    """The same frame of every sample, (3, H, W) uint8 each."""
    readers = [media.frames(sample.path) for sample in samples]
    try:
        for _ in range(samples[0].size[0]):
            yield [_next(reader, sample) for reader, sample in zip(readers, samples, strict=True)]
    finally:
        for reader in readers:
            reader.close()


def _next(reader: Iterator[np.ndarray], sample: Media) -> Tensor:
    picture = next(reader, None)
    if picture is None:
        raise RunError(f"{sample.path} is shorter than the {sample.size[0]} frames that it should have")
    return torch.from_numpy(picture).permute(2, 0, 1)
