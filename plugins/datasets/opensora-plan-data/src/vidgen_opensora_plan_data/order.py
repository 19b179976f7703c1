"""The order in which samples are gone through, for all ranks: mixed, or shape by shape in batches of one shape.

Source: Open-Sora-Plan v1.3, LengthGroupedSampler. Where random numbers come from is handed in.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Permute = Callable[[int], Rows]
"""n -> the numbers below n in random order."""
Choose = Callable[[int], int]
"""n -> one number below n."""


def arrange(
    shapes: Rows, *, batch_size: int, num_ranks: int, group_data: bool, permute: Permute, choose: Choose
) -> Rows:
    """Rows of every batch: (steps, num_ranks, batch_size).

    shapes: a number for the shape of each row, counted in the order shapes first appear, (rows,), at least one row.
    group_data: batches hold one shape each; else any. The last step is filled up with repeats.
    """
    order = _by_shape(shapes, permute) if group_data else permute(len(shapes))
    step = batch_size * num_ranks
    whole = len(order) // step
    batches = order[: whole * step].reshape(whole, batch_size, num_ranks).swapaxes(1, 2)
    if whole * step < len(order):
        last = _filled(order[whole * step :], batch_size, num_ranks, choose)
        batches = np.concatenate([batches, last[None]])
    batches = batches[permute(len(batches))]
    if group_data:
        _unmix(batches, shapes, choose)
    return batches


def majority(rows: Rows, shapes: Rows, choose: Choose) -> Rows:
    """The distinct rows of a batch's most frequent shape, in order, then repeats of them up to its length.

    shapes: a number for the shape of each row. Of shapes that are equally frequent, the last to appear counts.
    """
    _, first, which, members = np.unique(shapes, return_index=True, return_inverse=True, return_counts=True)
    frequent = np.flatnonzero(members == members.max())
    kept = rows[which == frequent[first[frequent].argmax()]]
    return _repeated(np.array(list(dict.fromkeys(kept.tolist()))), len(rows), choose)


def _by_shape(shapes: Rows, permute: Permute) -> Rows:
    """Rows grouped by shape, the shape with the most rows first."""
    members = np.split(np.argsort(shapes, kind="stable"), np.cumsum(np.bincount(shapes))[:-1])
    members.sort(key=len, reverse=True)
    return np.concatenate([group[permute(len(group))] for group in members])


def _filled(rows: Rows, batch_size: int, num_ranks: int, choose: Choose) -> Rows:
    """The last rows as a whole step, (num_ranks, batch_size)."""
    shares: list[Rows] = []
    for rank in range(num_ranks):
        share = rows[rank::num_ranks]
        shares.append(_repeated(share, batch_size, choose) if len(share) else shares[choose(len(shares))])
    return np.stack(shares)


def _repeated(rows: Rows, length: int, choose: Choose) -> Rows:
    extra = [choose(len(rows)) for _ in range(length - len(rows))]
    return np.concatenate([rows, rows[extra]]) if extra else rows


def _unmix(batches: Rows, shapes: Rows, choose: Choose) -> None:
    """Leave one shape in each batch, in place."""
    of_rows = shapes[batches]
    mixed = (of_rows != of_rows[..., :1]).any(axis=2)
    for step, rank in zip(*np.nonzero(mixed), strict=True):
        batches[step, rank] = majority(batches[step, rank], of_rows[step, rank], choose)
