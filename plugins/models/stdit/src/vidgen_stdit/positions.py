"""Sine and cosine position tables, worked out in float64.

Letters: D width, S positions of one frame (row by row), T frames.
"""

import torch
from torch import Tensor


def axis_table(positions: Tensor, width: int) -> Tensor:
    """positions: (N,), any unit. Returns [sin(p w_k), cos(p w_k)], (N, width) float64, w_k = 10000^(-k / (width / 2)).

    Source: arXiv 1706.03762, section 3.5, with all sines before the cosines.
    """
    half = width // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64, device=positions.device) / half)
    angles = positions.double()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def grid_table(rows: Tensor, columns: Tensor, width: int) -> Tensor:
    """Tables of a grid from its row and column positions: (S, width) float64; the first half tells the column."""
    of_row = axis_table(rows, width // 2)[:, None].expand(-1, len(columns), -1)
    of_column = axis_table(columns, width // 2)[None].expand(len(rows), -1, -1)
    return torch.cat([of_column, of_row], dim=2).flatten(0, 1)
