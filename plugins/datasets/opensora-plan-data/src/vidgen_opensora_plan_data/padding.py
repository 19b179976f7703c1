"""Batches of clips of several shapes: how far each is padded, and which latents are no padding.

Sizes are (frames, rows, columns). Source: Open-Sora-Plan v1.3, Collate.
"""

from collections.abc import Sequence
from math import ceil

import torch
from attrs import frozen
from torch import Tensor
from vidgen.errors import UserError
from vidgen.interfaces import Size3


@frozen
class Grid:
    """What sizes have to fit: `stride`, pixels to a latent, and `patch`, latents to a token, along each axis."""

    stride: Size3
    patch: Size3

    def padded(self, size: Size3) -> Size3:
        """The size to which clips of up to `size` are padded: whole tokens along each axis."""
        (s, *stride), (p, *patch) = self.stride, self.patch
        frames = _up(size[0] - 1 + s, s * p) + 1 - s
        rows, columns = (_up(side, step * n) for side, step, n in zip(size[1:], stride, patch, strict=True))
        return frames, rows, columns

    def latents(self, padded: Size3) -> Size3:
        """Latent size of a padded batch."""
        frames, rows, columns = padded
        return (frames - 1) // self.stride[0] + 1, rows // self.stride[1], columns // self.stride[2]

    def touched(self, size: Size3) -> Size3:
        """How many latents, from the first along each axis, hold something of a clip of `size`."""
        frames, rows, columns = size
        return ceil((frames - 1) / self.stride[0]) + 1, ceil(rows / self.stride[1]), ceil(columns / self.stride[2])


def target(sizes: Sequence[Size3], largest: Size3, *, group_data: bool) -> Size3:
    """The size before padding to which a batch is brought: the common one where shapes are grouped or there is one
    clip, else the largest that the options allow (num_frames, max_height, max_width).

    Raises: UserError, for a clip larger than that.
    """
    if group_data or len(sizes) == 1:
        assert len(set(sizes)) == 1, "a grouped batch has one shape"
        return sizes[0]
    for size in sizes:
        if any(side > limit for side, limit in zip(size, largest, strict=True)):
            raise UserError(
                f"a clip of {_name(size)} does not fit a batch that is padded to {_name(largest)}. Raise num_frames, "
                "max_height and max_width, lower max_hxw, or set group_data: true."
            )
    return largest


def pad(clips: Sequence[Tensor], padded: Size3) -> Tensor:
    """Clips (C, T, H, W) with zeros behind the end of each axis, as one (B, C, *padded)."""
    batch = clips[0].new_zeros(len(clips), clips[0].shape[0], *padded)
    for row, clip in zip(batch, clips, strict=True):
        frames, height, width = clip.shape[1:]
        row[:, :frames, :height, :width] = clip
    return batch


def latent_mask(sizes: Sequence[Size3], padded: Size3, grid: Grid, *, group_data: bool) -> Tensor:
    """(B, T, H, W) of latents, 1 where they hold something of the clip.

    Raises: UserError, when a batch of one shape, or of one clip, would have padding that the mask tells of.
    """
    mask = torch.zeros(len(sizes), *grid.latents(padded))
    for row, size in zip(mask, sizes, strict=True):
        frames, rows, columns = grid.touched(size)
        row[:frames, :rows, :columns] = 1
    if (group_data or len(sizes) == 1) and not mask.all():
        raise UserError(
            f"clips of {_name(sizes[0])} are padded to {_name(padded)}, so that some latents hold nothing. Choose "
            "sizes that make whole tokens: a larger hw_stride, another num_frames."
        )
    return mask


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


def _name(size: Size3) -> str:
    return "x".join(map(str, size))
