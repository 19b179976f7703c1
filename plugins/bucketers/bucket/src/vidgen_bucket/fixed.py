"""Batches of one size: which rows can be used, in which order, how many to a batch."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from vidgen.bucketing import LazyBatches, counts, table_of_counts
from vidgen.errors import UserError
from vidgen.interfaces import Assignment, Bucket, Context, Request
from vidgen.rng import numpy_generator

from vidgen_bucket import FixedOptions

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.integer]

SPARES = 8
"""Rows that may stand in for one that cannot be read."""


class FixedBucketer:
    """Every row once an epoch in batches of one size; see `vidgen.interfaces.Bucketer`.

    batch_size: rows of a batch, for one rank. num_frames, image_size: of every clip, video frames and (rows, columns).
    """

    def __init__(
        self, options: FixedOptions, *, batch_size: int, num_frames: int, image_size: tuple[int, int], seed: int
    ) -> None:
        self.options = options
        self.batch_size = batch_size
        self.num_frames = num_frames
        self.image_size = image_size
        self.seed = seed

    ragged = False

    def assign(self, table: "pa.Table", epoch: int) -> Assignment:
        """All rows to the one bucket, the same in every epoch.

        Rows with fewer frames than wanted are left out, stills among them unless one frame is wanted; rows whose number
        of frames the table does not tell stay.
        """
        bucket = Bucket(
            name=f"{self.num_frames} frames",
            num_frames=self.num_frames,
            size=self.image_size,
            batch_size=self.batch_size,
        )
        frames = _frames(table)
        reason = np.full(table.num_rows, -1, np.int8)
        longest = ""
        if frames is not None:
            short = np.flatnonzero(frames < self.num_frames)
            reason[short] = np.where(frames[short] == 1, 0, 1)
            videos = frames[reason == 1]
            longest = f" (the longest has {int(videos.max())})" if len(videos) else ""
        reasons = (
            f"still images, where num_frames is {self.num_frames}",
            f"videos of fewer than {self.num_frames} frames{longest}"
            if self.num_frames > 1
            else "rows without a frame",
        )
        placed = np.where(reason < 0, 0, -1).astype(np.int8)
        return Assignment(buckets=(bucket,), bucket=placed, reasons=reasons, reason=reason)

    def plan(self, table: "pa.Table", epoch: int, num_ranks: int) -> LazyBatches:
        """All full batches of an epoch, made when asked for. Rows are dealt to the ranks in turn, batch by batch.

        Raises: UserError, when no step can be filled on every rank.
        """
        assignment = self.assign(table, epoch)
        rows = np.flatnonzero(assignment.bucket >= 0).astype(_narrowest(table.num_rows))
        step = self.batch_size * num_ranks
        if len(rows) < step:
            raise UserError(self._too_few(assignment, num_ranks))
        if self.options.shuffle:
            numpy_generator(self.seed, "shuffle", epoch).shuffle(rows)
        steps = len(rows) // step if self.options.drop_last else -(-len(rows) // step)
        return LazyBatches(partial(self.batch, rows, epoch), range(steps * num_ranks))

    def batch(self, rows: Rows, epoch: int, index: int) -> tuple[Request, ...]:
        """Batch `index` of an epoch that goes through `rows` in order, and starts over when they end."""
        places = np.arange(index * self.batch_size, (index + 1) * self.batch_size) % len(rows)
        spares = numpy_generator(self.seed, "spares", epoch, index).choice(rows, (self.batch_size, SPARES))
        return tuple(
            Request(row, self.num_frames, self.image_size, tuple(others))
            for row, others in zip(rows[places].tolist(), spares.tolist(), strict=True)
        )

    def _too_few(self, assignment: Assignment, num_ranks: int) -> str:
        needed = f"rows of one step: batch_size {self.batch_size} on {num_ranks} rank(s)"
        table = table_of_counts([*counts(assignment), (needed, self.batch_size * num_ranks)])
        advice = "    lower batch_size, use fewer ranks, or give more data"
        if (assignment.bucket < 0).any() and self.num_frames > 1:
            advice += "; a smaller num_frames keeps shorter videos, num_frames: 1 keeps still images"
        return "\n".join(["not enough rows to fill one step on every rank:", table, f"{advice}."])


def build(options: FixedOptions, context: Context) -> FixedBucketer:
    """The bucketer. Raises: UserError, when the recipe leaves open how large batches and clips are."""
    batch_size, num_frames, image_size = context.batch_size, context.num_frames, context.image_size
    if batch_size is None or num_frames is None or image_size is None:
        given = {"batch_size": batch_size, "num_frames": num_frames, "image_size": image_size}
        missing = [key for key, value in given.items() if value is None]
        raise UserError(
            f"the bucketer fixed makes batches of one size and misses {', '.join(missing)}: set them at the top of the "
            "recipe, such as batch_size: 4, num_frames: 16, image_size: [64, 64]."
        )
    return FixedBucketer(
        options, batch_size=batch_size, num_frames=num_frames, image_size=image_size, seed=context.seed
    )


def _frames(table: "pa.Table") -> NDArray[np.number] | None:
    """Frames per row, NaN where unknown; None when the table does not tell."""
    return table.column("num_frames").to_numpy() if "num_frames" in table.column_names else None


def _narrowest(count: int) -> type[np.integer]:
    """Half the memory for tables of ordinary length."""
    return np.int32 if count <= np.iinfo(np.int32).max else np.int64
