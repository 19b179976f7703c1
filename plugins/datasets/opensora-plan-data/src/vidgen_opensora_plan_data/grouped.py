"""`grouped`: Open-Sora-Plan's batches, of samples of one shape or of any."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from vidgen.bucketing import LazyBatches, counts, table_of_counts
from vidgen.errors import UserError
from vidgen.interfaces import Assignment, Bucket, Context, Request
from vidgen.rng import numpy_generator

from vidgen_opensora_plan_data import GroupedOptions
from vidgen_opensora_plan_data.order import Rows, arrange
from vidgen_opensora_plan_data.shapes import Shapes, shapes_of

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("num_frames", "height", "width")
UNKNOWN = "rows whose num_frames, height or width the table does not tell"
SPARES = 8
"""Rows that may stand in for one that cannot be read."""


class GroupedBucketer:
    """Every row once an epoch at its own length and size; see `vidgen.interfaces.Bucketer`.

    group_data: batches of one shape. Rows at the border between two shapes may then be left out in an epoch, and others
    taken twice.
    """

    def __init__(self, *, batch_size: int, group_data: bool, seed: int) -> None:
        self.batch_size = batch_size
        self.group_data = group_data
        self.seed = seed
        self.ragged = not group_data and batch_size > 1

    def assign(self, table: "pa.Table", epoch: int) -> Assignment:
        """Rows to the buckets of their shapes, the same in every epoch; those of unknown shape are left out."""
        shapes = shapes_in(table)
        buckets = tuple(self._bucket(size) for size in shapes.sizes.tolist())
        reason = np.where(shapes.of_row < 0, 0, -1)
        return Assignment(buckets=buckets, bucket=shapes.of_row, reasons=(UNKNOWN,), reason=reason)

    def plan(self, table: "pa.Table", epoch: int, num_ranks: int) -> LazyBatches:
        """All batches of an epoch, made when asked for; the last step is filled up with repeats.

        Raises: UserError, when the table tells the shape of no row.
        """
        shapes = shapes_in(table)
        rows = np.flatnonzero(shapes.of_row >= 0)
        if not len(rows):
            raise UserError(self._none(self.assign(table, epoch)))
        rng = numpy_generator(self.seed, "grouped", epoch)
        places = arrange(
            shapes.of_row[rows],
            batch_size=self.batch_size,
            num_ranks=num_ranks,
            group_data=self.group_data,
            permute=rng.permutation,
            choose=lambda count: int(rng.integers(count)),
        )
        batches = rows[places].reshape(-1, self.batch_size)
        return LazyBatches(Epoch(batches, shapes, self.seed, epoch).batch, range(len(batches)))

    def _bucket(self, size: Sequence[int]) -> Bucket:
        frames, rows, columns = size
        name = f"{frames}x{rows}x{columns}"
        return Bucket(name=name, num_frames=frames, size=(rows, columns), batch_size=self.batch_size)

    def _none(self, assignment: Assignment) -> str:
        return (
            f"the bucketer grouped goes by num_frames, height and width, which no row has:\n"
            f"{table_of_counts(counts(assignment))}\n    give them in the table, or use another bucketer."
        )


class Epoch:
    """An epoch's batches as numbers: rows (batches, batch size)."""

    def __init__(self, rows: Rows, shapes: Shapes, seed: int, epoch: int) -> None:
        self._rows, self._shapes, self._seed, self._epoch = rows, shapes, seed, epoch

    @cached_property
    def _members(self) -> list[Rows]:
        return self._shapes.members()

    def batch(self, number: int) -> tuple[Request, ...]:
        """A batch's requests."""
        rng = numpy_generator(self._seed, "spares", self._epoch, number)
        return tuple(self._request(row, rng) for row in self._rows[number].tolist())

    def _request(self, row: int, rng: np.random.Generator) -> Request:
        shape = self._shapes.of_row[row]
        frames, height, width = self._shapes.sizes[shape].tolist()
        others = rng.choice(self._members[shape], SPARES).tolist()
        return Request(row, frames, (height, width), tuple(other for other in others if other != row))


def shapes_in(table: "pa.Table") -> Shapes:
    """The shapes in a table, by its columns num_frames, height and width."""
    if not set(COLUMNS) <= set(table.column_names):
        return Shapes(np.empty((0, 3), np.int64), np.full(table.num_rows, -1))
    numbers = [table.column(name).to_numpy().astype(np.float64) for name in COLUMNS]
    known = np.flatnonzero((numbers[0] >= 1) & (numbers[1] >= 1) & (numbers[2] >= 1))  # false for NaN
    frames, height, width = (column[known].astype(np.int64) for column in numbers)
    return shapes_of(frames, height, width, among=known, rows=table.num_rows)


def build(options: GroupedOptions, context: Context) -> GroupedBucketer:
    """The bucketer. Raises: UserError, when the recipe leaves open how large batches are."""
    batch_size = options.train_batch_size or context.batch_size
    if batch_size is None:
        raise UserError(
            "the bucketer grouped misses batch_size: set it at the top of the recipe, such as batch_size: 4, or "
            "bucketer.train_batch_size."
        )
    return GroupedBucketer(batch_size=batch_size, group_data=options.group_data, seed=context.seed)
