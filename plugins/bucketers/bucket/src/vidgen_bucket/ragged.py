"""Batches of clips of different sizes, as numbers: which rows lie in which batch, made into requests when asked for."""

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from vidgen.bucketing import LazyBatches, counts, table_of_counts
from vidgen.errors import UserError
from vidgen.interfaces import Assignment, Bucket, Request, Size3
from vidgen.rng import numpy_generator

from vidgen_bucket.batches import SPARES, Groups, group

Places = NDArray[np.integer]


@frozen(kw_only=True, eq=False)
class RaggedEpoch:
    """An epoch's batches as numbers.

    assignment: of all rows. groups: its rows by bucket; group_of: (buckets,), the group of each bucket. rows: of all
    batches. ends: (batches + 1,) where in `rows` each begins and ends. numbers: of the batches, in order. seed, epoch:
    where rows that stand in are drawn.
    """

    assignment: Assignment
    groups: Groups
    group_of: Places
    rows: Places
    ends: Places
    numbers: Places
    seed: int
    epoch: int

    @property
    def batches(self) -> LazyBatches:
        """All of them, in order."""
        return LazyBatches(self.batch, self.numbers)

    def batch(self, number: int) -> tuple[Request, ...]:
        """A batch's requests."""
        generator = numpy_generator(self.seed, "spares", self.epoch, number)
        rows = self.rows[self.ends[number] : self.ends[number + 1]].tolist()
        return tuple(self._request(row, generator) for row in rows)

    def _request(self, row: int, generator: np.random.Generator) -> Request:
        place = int(self.assignment.bucket[row])
        bucket: Bucket = self.assignment.buckets[place]
        alike = generator.choice(self.groups.members(self.group_of[place]), SPARES).tolist()
        others = tuple(other for other in dict.fromkeys(alike) if other != row)
        return Request(row, bucket.num_frames, bucket.size, others)

    def sizes(self) -> NDArray[np.int64]:
        """(T, H, W) of the clips in `rows`, (rows, 3)."""
        table = np.array([(one.num_frames, *one.size) for one in self.assignment.buckets], np.int64)
        return table[self.assignment.bucket[self.rows]]

    def padded_share(self) -> float:
        """Of the pixels of all frames of all batches, padded to the largest along each axis, those that are padding."""
        sizes, starts = self.sizes(), self.ends[:-1]
        largest = np.maximum.reduceat(sizes, starts, axis=0).prod(axis=1) * np.diff(self.ends)
        return 1 - float(sizes.prod(axis=1).sum() / largest.sum())


def ragged_epoch(
    assignment: Assignment, rows: Places, ends: Places, *, address: tuple[int, int], ranks: int, options: "Ordering"
) -> RaggedEpoch:
    """All batches, in another order in every epoch, as many as the ranks take. address: seed and epoch.

    Raises: UserError, when no step can be filled on every rank.
    """
    seed, epoch = address
    found = len(ends) - 1
    steps = found // ranks if options.drop_last else -(-found // ranks)
    if not steps:
        lines = [*counts(assignment), ("batches", found), ("ranks", ranks)]
        raise UserError(
            "not enough rows to fill one step on every rank:\n"
            f"{table_of_counts(lines)}\n"
            "    give more data, smaller batches or fewer ranks; smaller num_frames keep shorter videos, num_frames "
            "with 1 keeps still images."
        )
    groups = group(assignment.buckets, assignment.bucket)
    order = numpy_generator(seed, "order of batches", epoch).permutation(found) if options.shuffle else np.arange(found)
    return RaggedEpoch(
        assignment=assignment,
        groups=groups,
        group_of=np.argsort(groups.bucket),  # which inverts it: every bucket has rows
        rows=rows,
        ends=ends,
        numbers=np.resize(order, steps * ranks),
        seed=seed,
        epoch=epoch,
    )


@frozen(kw_only=True)
class Ordering:
    """shuffle: rows and batches. drop_last: leave out what fills no step on all ranks, else repeat the first."""

    shuffle: bool
    drop_last: bool

    def rows(self, assignment: Assignment, seed: int, epoch: int) -> Places:
        """All rows that have a bucket."""
        rows = np.flatnonzero(assignment.bucket >= 0)
        if self.shuffle:
            numpy_generator(seed, "shuffle", epoch).shuffle(rows)
        return rows


def tokens_of(assignment: Assignment, tokens: dict[Size3, int], rows: Places) -> NDArray[np.int64]:
    """Tokens of the clip of each row. tokens: of each bucket's size."""
    table = np.array([tokens[(one.num_frames, *one.size)] for one in assignment.buckets], np.int64)
    return table[assignment.bucket[rows]]
