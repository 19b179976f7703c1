"""Contact sheets: frames of clips that belong together, on one picture."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GAP, WHITE = 4, 255
ROWS, COLUMNS = 1, 2
LETTERS = 12  # height of a caption's letters in pixels


def contact_sheet(
    groups: Sequence[Sequence[Tensor]],
    frames: int,
    arrange: Literal["over", "beside"],
    upscale: int = 1,
    captions: Sequence[str] = (),
) -> Tensor:
    """A picture, (3, 1, H, W) uint8.

    groups: clips that belong together, such as a real one and its reconstruction, (3, T, H, W) uint8 each, of one size
    within a group. frames: evenly spaced ones of each, in a row. arrange: the first clip `over` the others, or `beside`
    them to their left. upscale: enlarge by nearest neighbour. captions: one for each group, written over it; cut off
    where the sheet ends.
    """
    axis, gap = (ROWS, GAP) if arrange == "over" else (COLUMNS, 3 * GAP)
    strips = [_joined([_strip(clip, frames, upscale) for clip in group], axis, gap) for group in groups]
    widest = max(strip.shape[COLUMNS] for strip in strips)
    strips = [_widened(strip, widest) for strip in strips]
    if captions:
        strips = [
            torch.cat([_written(text, widest), strip], ROWS) for text, strip in zip(captions, strips, strict=True)
        ]
    return _joined(strips, ROWS, 2 * GAP)[:, None]


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of the numbers 0 to count - 1, evenly spaced, the first and the last among them; all, when there are no
    more."""
    return torch.linspace(0, count - 1, min(count, wanted)).round().long().tolist()


def _strip(clip: Tensor, frames: int, upscale: int) -> Tensor:
    """(3, H, W): some frames side by side."""
    large = clip[:, spread(clip.shape[1], frames)].repeat_interleave(upscale, dim=2).repeat_interleave(upscale, dim=3)
    return _joined(list(large.unbind(dim=1)), COLUMNS, GAP // 2)


def _joined(pictures: Sequence[Tensor], axis: int, gap: int) -> Tensor:
    """Pictures (3, H, W) along an axis, with white between."""
    first = pictures[0]
    shape = [gap if dim == axis else size for dim, size in enumerate(first.shape)]
    between = first.new_full(shape, WHITE)
    return torch.cat([part for picture in pictures for part in (between, picture)][1:], dim=axis)


def _widened(picture: Tensor, width: int) -> Tensor:
    rest = picture.new_full((*picture.shape[:2], width - picture.shape[COLUMNS]), WHITE)
    return torch.cat([picture, rest], dim=COLUMNS)


def _written(text: str, width: int) -> Tensor:
    """(3, H, width): black on white, one line."""
    line = Image.new("RGB", (width, LETTERS + GAP), "white")
    ImageDraw.Draw(line).text((0, 0), " ".join(text.split()), fill="black", font=ImageFont.load_default(LETTERS))
    return torch.from_numpy(np.asarray(line).copy()).permute(2, 0, 1)
