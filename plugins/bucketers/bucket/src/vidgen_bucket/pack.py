"""The bucketer `pack`: clips at their own aspect ratio, as many to a batch as fill its tokens.

Source: NaViT, arXiv 2307.06304, section 2.
"""

import logging
from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from vidgen.bucketing import LazyBatches
from vidgen.interfaces import Assignment, Context

from vidgen_bucket import PackOptions
from vidgen_bucket.native import NativeSizes, native_sizes
from vidgen_bucket.ragged import Ordering, ragged_epoch, tokens_of

if TYPE_CHECKING:
    import pyarrow as pa

LOG = logging.getLogger("vidgen")


@frozen(kw_only=True)
class PackBucketer:
    """See `vidgen.interfaces.Bucketer`. budget: tokens of a batch at most. window: rows that are packed together."""

    sizes: NativeSizes
    order: Ordering
    budget: int
    window: int
    seed: int

    ragged = True

    def assign(self, table: "pa.Table", epoch: int) -> Assignment:
        """One bucket for each size, the same in every epoch; no clip has more tokens than a batch may have."""
        return self.sizes.assign(table)

    def plan(self, table: "pa.Table", epoch: int, num_ranks: int) -> LazyBatches:
        """The batches of an epoch; with another number of ranks they are the same but for the last step.

        Raises: UserError, when no step can be filled on every rank.
        """
        assignment = self.assign(table, epoch)
        rows = self.order.rows(assignment, self.seed, epoch)
        of_row = self.tokens(assignment, rows)
        packed = [
            _packed(of_row[first : first + self.window], self.budget, first)
            for first in range(0, len(rows), self.window)
        ]
        batches = [batch for window in packed for batch in window]
        ends = np.cumsum([0, *map(len, batches)])
        members = np.concatenate([np.empty(0, np.int64), *(np.asarray(batch, np.int64) for batch in batches)])
        made = ragged_epoch(
            assignment, rows[members], ends, address=(self.seed, epoch), ranks=num_ranks, options=self.order
        )
        fill = of_row.sum() / (self.budget * len(batches))
        LOG.info("pack: %d batches, filled to %.1f %% of %d tokens", len(batches), 100 * fill, self.budget)
        return made.batches

    def tokens(self, assignment: Assignment, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Tokens of the clip of each row."""
        known = {
            (one.num_frames, *one.size): self.sizes.tokens((one.num_frames, *one.size)) for one in assignment.buckets
        }
        return tokens_of(assignment, known, rows)


def _packed(tokens: NDArray[np.int64], budget: int, first: int) -> list[list[int]]:
    """Items, numbered from `first`, to bins of `budget`: the largest first, each to the bin that it fills best."""
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # what is left of a bin, and its number; rising
    order = np.argsort(-tokens, kind="stable")
    for item, size in zip(order.tolist(), tokens[order].tolist(), strict=True):
        place = bisect_left(room, (size, -1))
        if place == len(room):
            left, number = budget, len(bins)
            bins.append([])
        else:
            left, number = room.pop(place)
        bins[number].append(first + item)
        if left > size:
            entry = (left - size, number)
            room.insert(bisect_left(room, entry), entry)
    return bins


def build(options: PackOptions, context: Context) -> PackBucketer:
    """The bucketer. Raises: UserError, when options and recipe leave open how large clips are."""
    most = min(options.max_tokens or options.token_budget, options.token_budget)
    return PackBucketer(
        sizes=native_sizes(options, context, batch_size=0, max_tokens=most),
        order=Ordering(shuffle=options.shuffle, drop_last=options.drop_last),
        budget=options.token_budget,
        window=options.window,
        seed=context.seed,
    )
