"""Rotary positions in three dimensions: a third of each head turns with the frame, one with the row, one with the
column (arXiv 2104.09864, with halves of a third as pairs).

Letters: B clips, N tokens, K heads, E head width, t h w tokens along time, rows and columns.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from vidgen_layers.checks import Size3

AXES = 3


class Rotation(NamedTuple):
    """Cosines and sines of the angles, (1 or B, N, 1, E) float32; sines negative for the first number of a pair."""

    cos: Tensor
    sin: Tensor


def rotation(grid: Size3, scales: Sequence[float], width: int, device: torch.device) -> Rotation:
    """grid: (t, h, w). scales: by which positions, counted from 0, are divided along each. width: E."""
    third = width // AXES
    steps = torch.arange(third // 2, device=device, dtype=torch.float32)
    frequencies = 10000.0 ** (-2 * steps / third)
    sign = torch.tensor([[-1.0], [1.0]], device=device)
    cosines, sines = [], []
    for axis, (count, scale) in enumerate(zip(grid, scales, strict=True)):
        angles = torch.arange(count, device=device)[:, None] / scale * frequencies
        cosines.append(_spread(angles.cos().repeat(1, 2), axis, grid))
        sines.append(_spread((angles.sin()[:, None] * sign).flatten(1), axis, grid))
    whole = (torch.cat(parts, dim=-1).flatten(0, 2)[None, :, None] for parts in (cosines, sines))
    return Rotation(*(table.clone() for table in whole))  # of views, compilers look at what they are views of as well


def rotate(q: Tensor, by: Rotation) -> Tensor:
    """q: (B, N, K, E). Returns the same turned, of its type."""
    partners = q.unflatten(-1, (AXES, 2, -1)).flip(-2).flatten(-3)
    return torch.addcmul(q * by.cos.to(q.dtype), partners, by.sin.to(q.dtype))


def _spread(table: Tensor, axis: int, grid: Size3) -> Tensor:
    """table: (n, E / 3), of one axis. Returns (t, h, w, E / 3)."""
    return table.view(*(-1 if axis == other else 1 for other in range(AXES)), table.shape[1]).expand(*grid, -1)
