"""What bucketers share: batches that are made when they are asked for, and saying which rows are left out, and why."""

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np

from vidgen.interfaces import Assignment, Request

Batch = tuple[Request, ...]


class LazyBatches(Sequence[Batch]):
    """The batches of an epoch; each is made when it is asked for, a slice is as lazy as the whole.

    make: a batch by its number. numbers: of the batches, in order.
    """

    def __init__(self, make: Callable[[int], Batch], numbers: "range | np.ndarray") -> None:
        self._make, self._numbers = make, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Batch: ...

    @overload
    def __getitem__(self, index: slice) -> "LazyBatches": ...

    def __getitem__(self, index: int | slice) -> "Batch | LazyBatches":
        if isinstance(index, slice):
            return LazyBatches(self._make, self._numbers[index])
        return self._make(int(self._numbers[index]))


def counts(assignment: Assignment) -> list[tuple[str, int]]:
    """How many rows there are, how many of them are left out for each reason that occurs, and how many remain."""
    left_out = np.bincount(assignment.reason[assignment.bucket < 0], minlength=len(assignment.reasons))
    reasons = [(f"- {text}", int(count)) for text, count in zip(assignment.reasons, left_out, strict=True) if count]
    rows = len(assignment.bucket)
    return [("rows in the dataset", rows), *reasons, ("rows left", rows - int(left_out.sum()))]


def table_of_counts(rows: list[tuple[str, int]]) -> str:
    """Lines with a number and what it counts."""
    return "\n".join(f"    {count:>12,}  {label}" for label, count in rows)
