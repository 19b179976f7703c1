"""Shapes of samples: frames, rows and columns, and which rows of a table have the same."""

from itertools import pairwise

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


@frozen
class Shapes:
    """`sizes` (shapes, 3) of frames, rows and columns, in the order they first appear; `of_row` (rows,), place in
    `sizes`, -1 for a row without."""

    sizes: Numbers
    of_row: Numbers

    def members(self) -> list[Numbers]:
        """The rows of each shape, in order."""
        order = np.argsort(self.of_row, kind="stable")
        ends = np.searchsorted(self.of_row[order], np.arange(len(self.sizes) + 1))
        return [order[first:end] for first, end in pairwise(ends)]


def shapes_of(num_frames: Numbers, height: Numbers, width: Numbers, *, among: Numbers, rows: int) -> Shapes:
    """The shapes of the rows `among` all `rows` of a table; the numbers are theirs, (among,) each."""
    key = np.zeros(len(among), np.int64)
    for numbers in (num_frames, height, width):
        values, place = np.unique(numbers, return_inverse=True)
        key = key * len(values) + place
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    appearing = np.argsort(first)
    of_row = np.full(rows, -1)
    of_row[among] = np.argsort(appearing)[which]
    sizes = np.stack([num_frames, height, width], axis=1)[first[appearing]]
    return Shapes(sizes, of_row)
