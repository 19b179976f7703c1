"""Sine and cosine position tables, worked out in float64.

Letters: D width, S positions of one frame (row by row), T frames.
"""

from typing import NamedTuple

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


class Rotation(NamedTuple):
    """Cosines and sines of the angles of N positions, (N, E / 2) each."""

    cos: Tensor
    sin: Tensor


def rotary_frequencies(width: int) -> Tensor:
    """Angle per position of each pair of channels: 10000^(-2 i / E), (E / 2,) float32.

    Source: arXiv 2104.09864, section 3.2.2.
    """
    return 10000.0 ** (-torch.arange(0, width, 2, device="cpu").float() / width)


def rotation(frequencies: Tensor, positions: int, dtype: torch.dtype) -> Rotation:
    """The rotation of positions 0 .. N - 1. frequencies: (E / 2,)."""
    angles = torch.arange(positions, device=frequencies.device).to(frequencies)[:, None] * frequencies
    return Rotation(angles.cos().to(dtype), angles.sin().to(dtype))


def rotate(q: Tensor, by: Rotation) -> Tensor:
    """q: (..., N, E), adjacent channels (2 i, 2 i + 1) a pair. Returns every pair turned by its position's angle, of
    the type of q."""
    if torch.compiler.is_compiling():  # compilers fuse real arithmetic, and have no kernels for complex numbers
        a, b = q.unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack([a * by.cos - b * by.sin, b * by.cos + a * by.sin], dim=-1)
        return turned.flatten(-2).to(q.dtype)
    # A pair as a complex number is turned in one pass over memory; real arithmetic takes seven, over halves of pairs.
    wide = q.to(torch.promote_types(q.dtype, torch.float32))
    turn = torch.complex(by.cos.to(wide.dtype), by.sin.to(wide.dtype))
    turned = torch.view_as_real(torch.view_as_complex(wide.unflatten(-1, (-1, 2))) * turn)
    return turned.flatten(-2).to(q.dtype)
