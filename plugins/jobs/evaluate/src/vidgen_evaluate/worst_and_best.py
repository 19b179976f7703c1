"""A sheet of the worst and the best clips, each under its name and value, below its reference where it has one."""

from collections.abc import Iterable, Mapping

import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import interpolate
from vidgen.errors import UserError
from vidgen_quality.sheet import contact_sheet, spread

from vidgen_evaluate.figures import Figure
from vidgen_evaluate.pairs import Pair

LARGEST, SMALLEST = 256, 96
"""Longer side of a frame on the sheet in pixels: larger ones are shrunk, smaller ones enlarged by whole numbers."""


@frozen(kw_only=True)
class Entry:
    """A clip on the sheet. name: of the clip. caption: its place from 1, the worst, and its value."""

    name: str
    caption: str


def chosen(figures: Mapping[str, Figure], by: str | None) -> str | None:
    """The value that says which clips are the worst; None where there is no value at all. Raises: UserError, when none
    is named `by`."""
    if by is not None and by not in figures:
        raise UserError(f"sheet_by: no clip has a value {by!r}. There are {', '.join(figures) or 'none'}.")
    return by or next((name for name, one in figures.items() if one.better), next(iter(figures), None))


def entries_of(value: str, figure: Figure, values: Mapping[str, float], count: int) -> list[Entry]:
    """`count` of the worst clips and of the best, all of them where there are no more. values: clip -> value."""
    number = len(figure.ranked)
    return [
        Entry(name=name, caption=f"{place + 1}/{number}  {value} {values[name]:.4g}  {name}")
        for place, name in enumerate(figure.ranked)
        if place < count or place >= number - count
    ]


def sheet_of(pairs: Iterable[tuple[Entry, Pair]], frames: int) -> Tensor | None:
    """A picture, (3, 1, H, W) uint8, of pairs that are read one by one; None, when none can be read any more."""
    groups, captions = [], []
    for entry, pair in pairs:
        if pair.video is not None:
            clips = [pair.video] if pair.reference is None else [pair.reference, pair.video]
            groups.append([thumbnails(clip, frames) for clip in clips])
            captions.append(entry.caption)
    return contact_sheet(groups, frames, "over", captions=captions) if groups else None


def thumbnails(video: Tensor, frames: int) -> Tensor:
    """Some frames of a clip, (3, frames, H, W) uint8, of a size to look at."""
    few = video[:, spread(video.shape[1], frames)]
    longest = max(few.shape[2:])
    if longest < SMALLEST:
        factor = -(-SMALLEST // longest)
        return few.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    if longest <= LARGEST:
        return few
    size = [max(1, round(side * LARGEST / longest)) for side in few.shape[2:]]
    small = interpolate(few.transpose(0, 1).float(), size, mode="bilinear", antialias=True)
    return small.add(0.5).clamp(0, 255).to(torch.uint8).transpose(0, 1)
