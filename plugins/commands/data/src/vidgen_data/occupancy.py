"""How one epoch of a recipe uses its rows: buckets, batches, tokens, what is left over; no media is opened."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from attrs import define, field
from numpy.typing import NDArray
from vidgen.interfaces import Assignment, Bucket, Request, Size3

from vidgen_data.output import written
from vidgen_data.recipe_data import RecipeData
from vidgen_data.terminal import progress

LEFT_OVER = "left over: it fills no batch in this epoch"
ROWS = 1 << 16
STEPS = 1 << 12


@define
class BucketUse:
    """rows: assigned. clips: of the planned batches. batches: that hold any of them. tokens: of one clip."""

    bucket: Bucket
    rows: int
    tokens: int
    clips: int = 0
    batches: int = 0


@define
class Occupancy:
    """used: rows that are in a batch, (rows,). clips: in all batches. tokens: of the clips; padded: with what a batch
    of different sizes adds. heaviest: sum over steps of the tokens of the rank that has most."""

    assignment: Assignment
    uses: list[BucketUse]
    ranks: int
    used: NDArray[np.bool_]
    steps: int = 0
    clips: int = 0
    tokens: int = 0
    padded: int = 0
    heaviest: int = 0
    worst: float = field(default=1.0)

    @property
    def left_over(self) -> NDArray[np.bool_]:
        """Rows that have a bucket and are in no batch."""
        return (self.assignment.bucket >= 0) & ~self.used

    @property
    def imbalance(self) -> float:
        """Tokens of the slowest rank over those of the average one, over all steps; 1 is even."""
        return self.heaviest * self.ranks / self.padded if self.padded else 1.0

    def reasons(self) -> list[tuple[str, int]]:
        """Why rows are in no batch, and how many, most first."""
        found = np.bincount(self.assignment.reason[self.assignment.bucket < 0], minlength=len(self.assignment.reasons))
        counted = [(text, count) for text, count in zip(self.assignment.reasons, found.tolist(), strict=True) if count]
        return sorted(counted, key=lambda one: -one[1])


@define
class _Tally:
    """Batches that are not yet counted by bucket. rows: of all of them, one after the other; lengths: of each."""

    rows: list[int] = field(factory=list)
    lengths: list[int] = field(factory=list)


def assigned(data: RecipeData, *, epoch: int, ranks: int) -> Occupancy:
    """Buckets and their rows; no batches yet."""
    assignment = data.bucketer.assign(data.dataset.table, epoch)
    placed = assignment.bucket[assignment.bucket >= 0]
    rows = np.bincount(placed, minlength=len(assignment.buckets)).tolist()
    sizes = [(bucket.num_frames, *bucket.size) for bucket in assignment.buckets]
    uses = [
        BucketUse(bucket, count, data.tokens(size) if count else 0)
        for bucket, count, size in zip(assignment.buckets, rows, sizes, strict=True)
    ]
    return Occupancy(assignment, uses, ranks, np.zeros(len(assignment.bucket), bool))


def plan(data: RecipeData, occupancy: Occupancy, *, epoch: int) -> None:
    """Go through the batches of an epoch. Raises: UserError, when no row fits."""
    batches, ranks = data.bucketer.plan(data.dataset.table, epoch, occupancy.ranks), occupancy.ranks
    occupancy.steps = len(batches) // ranks
    with progress() as bar:
        task = bar.add_task("steps", total=occupancy.steps)
        for first in range(0, occupancy.steps, STEPS):
            tally = _Tally()
            for step in range(first, min(first + STEPS, occupancy.steps)):
                _take_in(occupancy, tally, [batches[step * ranks + rank] for rank in range(ranks)], data)
            _count(occupancy, tally)
            bar.update(task, completed=first + STEPS)


def _take_in(occupancy: Occupancy, tally: _Tally, batches: Sequence[Sequence[Request]], data: RecipeData) -> None:
    """One step, a batch a rank."""
    costs = list[int]()
    for batch in batches:
        tally.rows += [request.row for request in batch]
        tally.lengths.append(len(batch))
        tokens, padded = _tokens(batch, ragged=data.bucketer.ragged, of=data.tokens)
        occupancy.tokens += tokens
        costs.append(padded)
    occupancy.padded += sum(costs)
    occupancy.heaviest += max(costs)
    occupancy.worst = max(occupancy.worst, max(costs) * len(costs) / max(sum(costs), 1))


def _tokens(batch: Sequence[Request], *, ragged: bool, of: Callable[[Size3], int]) -> tuple[int, int]:
    """Tokens of the clips of a batch, and of the batch when it is padded to its largest clip along every axis."""
    if not ragged:
        total = len(batch) * of((batch[0].num_frames, *batch[0].size))
        return total, total
    sizes = [(request.num_frames, *request.size) for request in batch]
    frames, rows, columns = (max(axis) for axis in zip(*sizes, strict=True))
    return sum(map(of, sizes)), len(batch) * of((frames, rows, columns))


def _count(occupancy: Occupancy, tally: _Tally) -> None:
    """The clips and batches of each bucket."""
    buckets, rows = len(occupancy.uses), np.array(tally.rows, np.int64)
    places = occupancy.assignment.bucket[rows].astype(np.int64)
    numbers = np.repeat(np.arange(len(tally.lengths)), tally.lengths)
    clips = np.bincount(places, minlength=buckets)
    batches = np.bincount(np.unique(numbers * buckets + places) % buckets, minlength=buckets)
    for use, more_clips, more_batches in zip(occupancy.uses, clips.tolist(), batches.tolist(), strict=True):
        use.clips += more_clips
        use.batches += more_batches
    occupancy.used[rows] = True
    occupancy.clips += len(rows)


def write_rows(occupancy: Occupancy, table: pa.Table, output: Path, *, force: bool) -> int:
    """A table of the rows in no batch, with the reasons; how many there are. Raises: UserError."""
    reasons = pa.array([*occupancy.assignment.reasons, LEFT_OVER], pa.string())
    places = np.where(occupancy.left_over, len(reasons) - 1, occupancy.assignment.reason)
    rows = np.flatnonzero((occupancy.assignment.bucket < 0) | occupancy.left_over)
    with_path = "path" in table.column_names
    fields = [("row", pa.int64()), *([("path", pa.string())] if with_path else []), ("reason", pa.string())]
    schema = pa.schema(fields)
    with written(output, schema, force=force) as writer:
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            columns = [pa.array(part), reasons.take(pa.array(places[part]))]
            if with_path:
                columns.insert(1, table.column("path").take(pa.array(part)).combine_chunks())
            writer.write(pa.RecordBatch.from_arrays(columns, schema=schema))
    return len(rows)
