"""Which tokens of a batch the blocks are given, and which of them count.

Letters: B clips, T H W latent frames/rows/columns, N tokens of the batch's grid, M of the longest clip, D width.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from vidgen.attention import to_device
from vidgen_layers.checks import check_shape

from vidgen_opensora_plan.latents import any_of_patch
from vidgen_opensora_plan.rotary import Rotation


class Layout(NamedTuple):
    """order: (B, M) int64, the places in the grid of the tokens that blocks are given, in their order; None: all N.
    real: (B, N or M) bool, which of these count; None: all."""

    order: Tensor | None = None
    real: Tensor | None = None

    def entered(self, tokens: Tensor) -> Tensor:
        """(B, N, D), of the grid -> (B, N or M, D), for the blocks."""
        if self.order is None:
            return tokens
        return tokens.gather(1, self.order[..., None].expand(-1, -1, tokens.shape[2]))

    def left(self, tokens: Tensor, size: int) -> Tensor:
        """The way back, (B, size = N, D). What comes to lie at padding means nothing."""
        if self.order is None:
            return tokens
        grid = tokens.new_zeros(len(tokens), size, tokens.shape[2])
        return grid.scatter(1, self.order[..., None].expand_as(tokens), tokens)

    def rotated(self, of_grid: Rotation) -> Rotation:
        """The rotation of the tokens that blocks are given. of_grid: of the grid's."""
        if self.order is None:
            return of_grid
        return Rotation(*(table.take_along_dim(self.order[..., None, None], 1) for table in of_grid))


def layout_of(x: Tensor, valid: Tensor | None, attention_mask: Tensor | None, side: int) -> Layout:
    """x: (B, C, T, H, W). valid, attention_mask: (B, T, H, W), see `T2V.forward`; one of them, or none.

    Raises: UserError, when a shape does not fit.
    """
    shape = (len(x), *x.shape[2:])
    if valid is not None:
        check_shape(valid, shape, name="valid")
        return _of_clips(valid.cpu(), side, x.device)
    if attention_mask is not None:
        check_shape(attention_mask, shape, name="attention_mask")
        real = any_of_patch(attention_mask, side)
        return Layout(real=None if _all_seen(real) else real)
    return Layout()


def without_padding(x: Tensor, valid: Tensor | None) -> Tensor:
    """x: (B, C, T, H, W), with zeros where there is padding: whatever lay there."""
    if valid is None or _all_seen(valid):
        return x
    return torch.where(to_device(valid, x.device)[:, None], x, 0)


def _of_clips(valid: Tensor, side: int, device: torch.device) -> Layout:
    """Every clip's own tokens in front, in its own order: so each is dealt as it is alone."""
    if valid.all():
        return Layout()
    real = any_of_patch(valid, side)
    longest = int(real.sum(1).max())
    order = real.int().argsort(dim=1, descending=True, stable=True)[:, :longest]
    return Layout(to_device(order, device), to_device(real.gather(1, order), device))


def _all_seen(mask: Tensor) -> bool:
    """Whether all count; only where the mask lies on the CPU: elsewhere looking would stop the device."""
    return mask.device.type == "cpu" and bool(mask.all())
