"""Which tokens of a batch the blocks are given, and which of them count.

Letters: B clips, T H W latent frames/rows/columns, N tokens of the batch's grid, M of the longest clip, n those of
either that a rank has, D width.
"""

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor
from vidgen.attention import to_device
from vidgen.mesh import TokenGroup
from vidgen_layers.checks import check_shape
from vidgen_layers.patches import token_grid
from vidgen_layers.sharing import Sequences

from vidgen_opensora_plan.latents import any_of_patch
from vidgen_opensora_plan.rotary import Rotation


class Layout(NamedTuple):
    """clips: the N or M tokens of each that blocks are given, of which this rank has a part, n. order: (B, M) int64,
    their places in the grid, in their order; None: all N. real: (B, N or M) bool, which of these count; None: all."""

    clips: Sequences
    order: Tensor | None = None
    real: Tensor | None = None

    def entered(self, tokens: Tensor) -> Tensor:
        """(B, N, D), of the grid -> (B, n, D), for the blocks."""
        if self.order is not None:
            tokens = tokens.gather(1, self.order[..., None].expand(-1, -1, tokens.shape[2]))
        return self.clips.part(tokens)

    def left(self, tokens: Tensor, size: int) -> Tensor:
        """The way back, (B, size = N, D). What comes to lie at padding means nothing."""
        tokens = self.clips.whole(tokens)
        if self.order is None:
            return tokens
        grid = tokens.new_zeros(len(tokens), size, tokens.shape[2])
        return grid.scatter(1, self.order[..., None].expand_as(tokens), tokens)

    def rotated(self, of_grid: Rotation) -> Rotation:
        """The rotation of the n tokens that blocks are given. of_grid: of the grid's."""
        tables = of_grid
        if self.order is not None:
            tables = Rotation(*(table.take_along_dim(self.order[..., None, None], 1) for table in of_grid))
        return Rotation(*(self.clips.part(table) for table in tables))


def layout_of(x: Tensor, valid: Tensor | None, attention_mask: Tensor | None, side: int, tokens: TokenGroup) -> Layout:
    """x: (B, C, T, H, W). valid, attention_mask: (B, T, H, W), see `T2V.forward`; one of them, or none. tokens: the
    ranks that share them.

    Raises: UserError, when a shape does not fit.
    """
    shape = (len(x), *x.shape[2:])
    whole = Sequences(length=prod(token_grid((x.shape[2], x.shape[3], x.shape[4]), (1, side, side))), tokens=tokens)
    if valid is not None:
        check_shape(valid, shape, name="valid")
        return Layout(whole) if valid.all() else _of_clips(valid.cpu(), side, x.device, tokens)
    if attention_mask is not None:
        check_shape(attention_mask, shape, name="attention_mask")
        real = any_of_patch(attention_mask, side)
        return Layout(whole, real=None if _all_seen(real) else real)
    return Layout(whole)


def without_padding(x: Tensor, valid: Tensor | None) -> Tensor:
    """x: (B, C, T, H, W), with zeros where there is padding: whatever lay there."""
    if valid is None or _all_seen(valid):
        return x
    return torch.where(to_device(valid, x.device)[:, None], x, 0)


def _of_clips(valid: Tensor, side: int, device: torch.device, tokens: TokenGroup) -> Layout:
    """Every clip's own tokens in front, in its own order: so each is dealt as it is alone."""
    real = any_of_patch(valid, side)
    longest = int(real.sum(1).max())
    order = real.int().argsort(dim=1, descending=True, stable=True)[:, :longest]
    clips = Sequences(length=longest, tokens=tokens)
    return Layout(clips, to_device(order, device), to_device(real.gather(1, order), device))


def _all_seen(mask: Tensor) -> bool:
    """Whether all count; only where the mask lies on the CPU: elsewhere looking would stop the device."""
    return mask.device.type == "cpu" and bool(mask.all())
