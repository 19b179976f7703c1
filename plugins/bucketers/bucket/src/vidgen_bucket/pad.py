"""The bucketer `pad`: clips at their own aspect ratio, batches padded to the largest (FiT, arXiv 2402.12376)."""

import logging
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from vidgen.bucketing import LazyBatches
from vidgen.errors import UserError
from vidgen.interfaces import Assignment, Context

from vidgen_bucket import PadOptions
from vidgen_bucket.native import NativeSizes, native_sizes
from vidgen_bucket.ragged import Ordering, RaggedEpoch, ragged_epoch

if TYPE_CHECKING:
    import pyarrow as pa

LOG = logging.getLogger("vidgen")


@frozen(kw_only=True)
class PadBucketer:
    """See `vidgen.interfaces.Bucketer`. batch_size: clips of a batch. window: batches whose rows are sorted by size."""

    sizes: NativeSizes
    order: Ordering
    batch_size: int
    window: int
    seed: int

    ragged = True

    def assign(self, table: "pa.Table", epoch: int) -> Assignment:
        """One bucket for each size, the same in every epoch."""
        return self.sizes.assign(table)

    def plan(self, table: "pa.Table", epoch: int, num_ranks: int) -> LazyBatches:
        """The batches of an epoch; with another number of ranks they are the same but for the last step.

        Raises: UserError, when no step can be filled on every rank.
        """
        made = self.epoch(table, epoch, num_ranks)
        LOG.info("pad: %d batches, %.1f %% of their pixels are padding", len(made.ends) - 1, 100 * made.padded_share())
        return made.batches

    def epoch(self, table: "pa.Table", epoch: int, num_ranks: int) -> RaggedEpoch:
        """The same as numbers."""
        assignment = self.assign(table, epoch)
        rows = self.order.rows(assignment, self.seed, epoch)
        found = len(rows) // self.batch_size if self.order.drop_last else -(-len(rows) // self.batch_size)
        rows = np.resize(rows, found * self.batch_size)
        ends = np.arange(found + 1) * self.batch_size
        rows = rows[self._by_size(assignment, rows)]
        return ragged_epoch(assignment, rows, ends, address=(self.seed, epoch), ranks=num_ranks, options=self.order)

    def _by_size(self, assignment: Assignment, rows: NDArray[np.integer]) -> NDArray[np.integer]:
        """An order of rows: within each window those alike next to each other."""
        table = np.array([(one.num_frames, *one.size) for one in assignment.buckets], np.int64).reshape(-1, 3)
        rank = np.empty(len(table), np.int64)
        rank[np.lexsort(table.T[::-1])] = np.arange(len(table))
        window = np.arange(len(rows)) // (self.window * self.batch_size)
        return np.argsort(window * len(table) + rank[assignment.bucket[rows]], kind="stable")


def build(options: PadOptions, context: Context) -> PadBucketer:
    """The bucketer. Raises: UserError, when options and recipe leave open how large batches and clips are."""
    batch_size = options.batch_size or context.batch_size
    if batch_size is None:
        raise UserError("the bucketer pad misses batch_size: set it there, or at the top of the recipe.")
    return PadBucketer(
        sizes=native_sizes(options, context, batch_size=batch_size, max_tokens=options.max_tokens),
        order=Ordering(shuffle=options.shuffle, drop_last=options.drop_last),
        batch_size=batch_size,
        window=options.window,
        seed=context.seed,
    )
