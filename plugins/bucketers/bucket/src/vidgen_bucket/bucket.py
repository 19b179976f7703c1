"""The bucketer `bucket`: a table's rows to buckets of (resolution, number of frames, aspect ratio), and to batches."""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from attrs import frozen
from numpy.typing import NDArray
from vidgen.bucketing import LazyBatches, counts, table_of_counts
from vidgen.errors import UserError
from vidgen.interfaces import Assignment, Bucket, Context, Size3

from vidgen_bucket import BucketOptions
from vidgen_bucket.balance import Balance
from vidgen_bucket.batches import Epoch, Groups, InOrder, Order, Shuffled, group, make_batches
from vidgen_bucket.draws import RowDraws
from vidgen_bucket.levels import Level, buckets_of, custom_resolution, walk
from vidgen_bucket.place import ENOUGH, Shapes, place
from vidgen_bucket.suggest import FRAMES, Suggestion, usual_tables

if TYPE_CHECKING:
    import pyarrow as pa

LOG = logging.getLogger("vidgen")

CHUNK = 1 << 16
"""Rows placed at a time: what that takes beside the result stays the same for any table."""
SHOWN = 8
"""Buckets named in a message."""


@frozen(kw_only=True)
class LevelBucketer:
    """See `vidgen.interfaces.Bucketer`.

    interval: frames between two that are used. tokens: of one clip, (frames, rows, columns) -> number; of a batch it
    says how long it takes.
    """

    options: BucketOptions
    interval: int
    seed: int
    tokens: Callable[[Size3], int]
    levels: tuple[Level, ...]
    buckets: tuple[Bucket, ...]

    ragged = False

    def assign(self, table: "pa.Table", epoch: int) -> Assignment:
        """Where rows go in one epoch. A row is known by its path, so its bucket does not depend on where it stands."""
        bucket, reason = np.empty(table.num_rows, np.int32), np.empty(table.num_rows, np.int8)
        for first in range(0, table.num_rows, CHUNK):
            part = table.slice(first, CHUNK)
            draws = RowDraws(part, seed=self.seed, epoch=epoch, offset=first)
            placed = place(self.levels, shapes_of(part), self.interval, draws)
            bucket[first : first + CHUNK], reason[first : first + CHUNK] = placed.bucket, placed.reason
        return Assignment(buckets=self.buckets, bucket=bucket, reasons=self._reasons(), reason=reason)

    def plan(self, table: "pa.Table", epoch: int, num_ranks: int) -> LazyBatches:
        """The batches of an epoch. With another number of ranks they are the same but for the last step.

        Raises: UserError, when no step can be filled on every rank, or the autoencoder cannot take a bucket's clips.
        """
        assignment = self.assign(table, epoch)
        groups = group(assignment.buckets, assignment.bucket)
        costs = np.array([self._tokens(self.buckets[one]) for one in groups.bucket], np.float64)
        order: Order = Shuffled(self.seed, epoch) if self.options.shuffle else InOrder()
        made = make_batches(groups, order, drop_last=self.options.drop_last, rearrange=self._rearrange(costs, epoch))
        numbers = made.for_ranks(num_ranks, self.options.drop_last)
        if not len(numbers):
            raise UserError(self._too_few(assignment, groups, num_ranks))
        _report_left_over(made, numbers)
        return LazyBatches(partial(made.batch, self.seed, epoch), numbers)

    def suggest(self, table: "pa.Table") -> dict[str, Any]:
        """A bucketer section for a recipe, as plain data, whose resolutions and numbers of frames suit the table.

        Batches are as large as this bucketer's largest, in tokens; its own resolutions and numbers of frames are among
        those to choose from. Raises: UserError, when no row fits any.
        """
        own = {one.frames for level in self.levels for one in level.entries if one.frames > 1}
        further = [custom_resolution(name, sizes) for name, sizes in self.options.resolutions.items()]
        suggestion = Suggestion(
            tables=[*usual_tables(), *further],
            frames=sorted({*FRAMES, *own}),
            interval=self.interval,
            tokens=self.tokens,
            budget=self._largest_batch(),
        )
        found = suggestion.config(shapes_of(table))
        tables = {name: [*map(list, sizes)] for name, sizes in self.options.resolutions.items() if name in found}
        return {
            "type": "bucket",
            "bucket_config": found,
            **({"resolutions": tables} if tables else {}),
            **({"frame_interval": self.interval} if self.options.frame_interval else {}),
        }

    def _rearrange(self, costs: NDArray[np.float64], epoch: int) -> Callable[[NDArray[Any]], NDArray[Any]] | None:
        """costs: tokens of a batch of each group, (groups,)."""
        if self.options.balance == "none":
            return None
        balance = Balance(run=self.options.balance_ranks, seed=self.seed)
        return lambda of_batch: balance.arrange(costs[of_batch], epoch)

    def _largest_batch(self) -> int:
        """Tokens of it, of buckets that the autoencoder can take."""
        largest = 0
        for bucket in self.buckets:
            with suppress(UserError):
                largest = max(largest, self._tokens(bucket))
        return largest

    def _tokens(self, bucket: Bucket) -> int:
        """Of one batch. Raises: UserError, when the autoencoder cannot take its clips."""
        try:
            return bucket.batch_size * self.tokens((bucket.num_frames, *bucket.size))
        except UserError as error:
            raise UserError(f"bucketer: the bucket {bucket.name}: {error}") from None

    def _reasons(self) -> tuple[str, ...]:
        """In the order of the numbers in `vidgen_bucket.place`."""
        smallest = self.levels[-1].resolution
        videos = [entry.frames for level in self.levels for entry in level.entries if entry.frames > 1]
        shortest = f"needs {min(videos) * self.interval + 1} frames" if videos else "there is none for videos"
        return (
            "num_frames, height or width unknown, or not above 0",
            f"too few pixels for every resolution (the smallest, {smallest.name}, needs "
            f"{np.ceil(ENOUGH * smallest.pixels):,.0f})",
            "still images, and no resolution of their size has a bucket of 1 frame",
            f"videos too short for every bucket of their size (the shortest of all {shortest})",
            "kept out by buckets with probability 0",
            "not drawn in this epoch: probabilities below 1",
        )

    def _too_few(self, assignment: Assignment, groups: Groups, num_ranks: int) -> str:
        lines = counts(assignment)
        if len(groups.bucket):
            full = groups.batch_counts(drop_last=True)
            best = np.argsort(-groups.lengths, kind="stable")[:SHOWN]
            lines += [(f"- in {_named(groups, one)}", int(groups.lengths[one])) for one in best]
            lines.append(("full batches", int(full.sum())))
            advice = f"lower batch sizes, use fewer ranks than {num_ranks}, set drop_last: false, or give more data"
        else:
            advice = "give buckets that suit the data: smaller resolutions, fewer frames, 1 frame for still images"
        return "\n".join(["not enough rows to fill one step on every rank:", table_of_counts(lines), f"    {advice}."])


def shapes_of(table: "pa.Table") -> Shapes:
    """Sizes of a table's rows, NaN where the table does not tell."""
    return Shapes(
        frames=_numbers(table, "num_frames"), height=_numbers(table, "height"), width=_numbers(table, "width")
    )


def _numbers(table: "pa.Table", name: str) -> NDArray[np.float64]:
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return pc.cast(table.column(name), "float64", safe=False).to_numpy()  # huge numbers may lose their last digits


def _report_left_over(epoch: Epoch, numbers: NDArray[Any]) -> None:
    """Say how many rows are in no batch, and of which buckets."""
    groups = epoch.groups
    used = np.bincount(epoch.group[np.unique(numbers)], minlength=len(groups.lengths)) * groups.sizes
    left = np.maximum(groups.lengths - used, 0)
    if not left.any():
        return
    most = np.argsort(-left, kind="stable")[:SHOWN]
    names = ", ".join(f"{left[one]} of {_named(groups, one)}" for one in most if left[one])
    others = ", ..." if np.count_nonzero(left) > SHOWN else ""
    LOG.info("%d of %d rows fill no batch in this epoch: %s%s", left.sum(), groups.lengths.sum(), names, others)


def _named(groups: Groups, one: int) -> str:
    bucket = groups.buckets[groups.bucket[one]]
    return f"{bucket.name} (batches of {bucket.batch_size})"


def build(options: BucketOptions, context: Context) -> LevelBucketer:
    """The bucketer."""
    levels = walk(options.bucket_config, options.resolutions)
    return LevelBucketer(
        options=options,
        interval=options.frame_interval or context.frame_interval,
        seed=context.seed,
        tokens=context.tokens or plain_tokens,
        levels=levels,
        buckets=buckets_of(levels),
    )


def plain_tokens(size: Size3) -> int:
    """Patches of 16 by 16 pixels, where no model is known."""
    frames, rows, columns = size
    return frames * -(-rows // 16) * -(-columns // 16)
