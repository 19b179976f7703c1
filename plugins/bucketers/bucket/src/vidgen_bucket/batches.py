"""Rows of buckets to an epoch's batches: every batch from one bucket, in an order that no number of ranks changes.

Kept out: which bucket a row is in (`vidgen_bucket.place`).
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from vidgen.interfaces import Bucket, Request
from vidgen.rng import numpy_generator

Places = NDArray[np.integer]

SPARES = 8
"""Rows that may stand in for one that cannot be read."""


class Order(Protocol):
    """In which order rows and batches come."""

    def rows(self, bucket: Bucket, members: Places, count: int) -> Places:
        """`count` of a bucket's rows, in the order in which they are used. Where there are fewer, they are repeated."""
        ...

    def batches(self, count: int) -> Places:
        """A permutation of so many."""
        ...


class InOrder:
    """The order of the table: rows as they stand, buckets by their first rows."""

    def rows(self, bucket: Bucket, members: Places, count: int) -> Places:
        """See `Order`."""
        return _repeated(members, count)

    def batches(self, count: int) -> Places:
        """See `Order`."""
        return np.arange(count)


@frozen
class Shuffled:
    """Another order in every epoch; that of a bucket's rows does not depend on the other buckets."""

    seed: int
    epoch: int

    def rows(self, bucket: Bucket, members: Places, count: int) -> Places:
        """See `Order`."""
        generator = numpy_generator(self.seed, "rows of a bucket", self.epoch, bucket.name)
        return _repeated(generator.permutation(members), count)

    def batches(self, count: int) -> Places:
        """See `Order`."""
        return numpy_generator(self.seed, "order of batches", self.epoch).permutation(count)


@frozen(kw_only=True)
class Groups:
    """Rows that have a bucket, by bucket. bucket: (groups,) place among `buckets`, in the order of their first rows.
    rows: of all groups, one after the other, each in the table's order. starts: (groups + 1,) where each begins."""

    buckets: Sequence[Bucket]
    bucket: Places
    rows: Places
    starts: Places

    def members(self, group: int) -> Places:
        """The rows of a group."""
        return self.rows[self.starts[group] : self.starts[group + 1]]

    @property
    def lengths(self) -> Places:
        """Rows of each group."""
        return np.diff(self.starts)

    @cached_property
    def sizes(self) -> Places:
        """Rows of a batch of each group."""
        return np.array([self.buckets[place].batch_size for place in self.bucket], np.int64)

    def batch_counts(self, drop_last: bool) -> Places:
        """Batches of each group: full ones, or with the last one filled up."""
        return self.lengths // self.sizes if drop_last else -(-self.lengths // self.sizes)


def group(buckets: Sequence[Bucket], bucket: Places) -> Groups:
    """bucket: of each row of a table, its place in `buckets`, -1 for none."""
    placed = np.flatnonzero(bucket >= 0).astype(np.int32 if len(bucket) < 1 << 31 else np.int64)
    narrow = np.int16 if len(buckets) < 1 << 15 else np.int32  # of 16 bits numpy sorts in linear time
    keys = bucket[placed].astype(narrow)
    order = np.argsort(keys, kind="stable")
    rows = placed[order]
    found, starts = np.unique(keys[order], return_index=True)
    ends = np.append(starts[1:], len(rows))
    by_first = np.argsort(rows[starts], kind="stable")
    members = [rows[starts[one] : ends[one]] for one in by_first]
    return Groups(
        buckets=buckets,
        bucket=found[by_first].astype(np.int32),
        rows=np.concatenate([*members, rows[:0]]),
        starts=np.cumsum([0, *map(len, members)]),
    )


def make_batches(
    groups: Groups, order: Order, *, drop_last: bool, rearrange: Callable[[Places], Places] | None = None
) -> "Epoch":
    """All batches of an epoch, for any number of ranks.

    rearrange: the group of each batch -> a permutation of the batches.
    """
    counts = groups.batch_counts(drop_last)
    wanted = (counts * groups.sizes).tolist()
    rows = [
        order.rows(groups.buckets[groups.bucket[one]], groups.members(one), count) for one, count in enumerate(wanted)
    ]
    of_batch = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    starts = np.cumsum(groups.sizes[of_batch]) - groups.sizes[of_batch]
    of_batch = of_batch[order.batches(len(of_batch))]
    if rearrange is not None:
        of_batch = of_batch[rearrange(of_batch)]
    begins = np.empty_like(starts)
    begins[np.argsort(of_batch, kind="stable")] = starts  # the batches of a group take its rows one after the other
    return Epoch(groups=groups, rows=np.concatenate([*rows, groups.rows[:0]]), group=of_batch, begins=begins)


@frozen(kw_only=True)
class Epoch:
    """An epoch's batches as numbers.

    rows: of all batches. group: (batches,) of each. begins: (batches,) where in `rows` it begins.
    """

    groups: Groups
    rows: Places
    group: Places
    begins: Places

    def __len__(self) -> int:
        return len(self.group)

    def bucket(self, batch: int) -> Bucket:
        """The bucket of a batch."""
        return self.groups.buckets[self.groups.bucket[self.group[batch]]]

    def batch_rows(self, batch: int) -> Places:
        """The rows of a batch."""
        begin = self.begins[batch]
        return self.rows[begin : begin + self.groups.sizes[self.group[batch]]]

    def batch(self, seed: int, epoch: int, number: int) -> tuple[Request, ...]:
        """A batch's requests. seed, epoch: where rows that stand in are drawn."""
        bucket, rows = self.bucket(number), self.batch_rows(number)
        members = self.groups.members(self.group[number])
        spares = numpy_generator(seed, "spares", epoch, number).choice(members, (len(rows), SPARES))
        return tuple(
            Request(row, bucket.num_frames, bucket.size, tuple(others))
            for row, others in zip(rows.tolist(), spares.tolist(), strict=True)
        )

    def for_ranks(self, num_ranks: int, drop_last: bool) -> Places:
        """Numbers of the batches to make, a multiple of the ranks: the last ones are left out or the first repeated."""
        steps = len(self) // num_ranks if drop_last else -(-len(self) // num_ranks)
        return _repeated(np.arange(len(self), dtype=np.int32), steps * num_ranks)


def _repeated(rows: Places, count: int) -> Places:
    """The first `count` rows, starting over where they end."""
    return rows[:count] if count <= len(rows) else np.resize(rows, count)
