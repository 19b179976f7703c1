"""Batches of one size: which rows can be used, in which order, how many to a batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray
from vidgen.errors import UserError
from vidgen.interfaces import Context, Request
from vidgen.rng import numpy_generator

from vidgen_bucket import FixedOptions

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.integer]


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

    def plan(self, table: "pa.Table", epoch: int, num_ranks: int) -> "Batches":
        """All full batches of an epoch, made when asked for. Rows are dealt to the ranks in turn, batch by batch.

        Rows with fewer frames than wanted are left out, stills among them unless one frame is wanted; rows whose number
        of frames the table does not tell stay. Raises: UserError, when no step can be filled on every rank.
        """
        rows = self._usable_rows(table)
        step = self.batch_size * num_ranks
        if len(rows) < step:
            raise UserError(self._too_few(table, len(rows), num_ranks))
        if self.options.shuffle:
            numpy_generator(self.seed, "shuffle", epoch).shuffle(rows)
        steps = len(rows) // step if self.options.drop_last else -(-len(rows) // step)
        return Batches(rows, self, range(steps * num_ranks))

    def batch(self, rows: Rows, index: int) -> tuple[Request, ...]:
        """Batch `index` of an epoch that goes through `rows` in order, and starts over when they end."""
        places = np.arange(index * self.batch_size, (index + 1) * self.batch_size) % len(rows)
        return tuple(Request(int(row), self.num_frames, self.image_size) for row in rows[places])

    def _usable_rows(self, table: "pa.Table") -> Rows:
        frames = _frames(table)
        if frames is None:
            return np.arange(table.num_rows, dtype=_narrowest(table.num_rows))
        return np.flatnonzero(~(frames < self.num_frames)).astype(_narrowest(table.num_rows))

    def _too_few(self, table: "pa.Table", usable: int, num_ranks: int) -> str:
        needed = self.batch_size * num_ranks
        counts = [("rows in the dataset", table.num_rows)]
        frames = _frames(table)
        if frames is not None and self.num_frames > 1:
            short = (frames < self.num_frames) & (frames != 1)
            counts.append((f"- still images, where num_frames is {self.num_frames}", int((frames == 1).sum())))
            longest = f" (the longest has {int(frames[short].max())})" if short.any() else ""
            counts.append((f"- videos of fewer than {self.num_frames} frames{longest}", int(short.sum())))
        elif frames is not None:
            counts.append(("- rows without a frame", int((frames < 1).sum())))
        counts.append(("rows left", usable))
        counts.append((f"rows of one step: batch_size {self.batch_size} on {num_ranks} rank(s)", needed))
        table_lines = [f"    {count:>12,}  {label}" for label, count in counts]
        advice = "    lower batch_size, use fewer ranks, or give more data"
        if usable < table.num_rows and self.num_frames > 1:
            advice += "; a smaller num_frames keeps shorter videos, num_frames: 1 keeps still images"
        return "\n".join(["not enough rows to fill one step on every rank:", *table_lines, f"{advice}."])


class Batches(Sequence[tuple[Request, ...]]):
    """The batches of an epoch; each is made when it is asked for, a slice is as lazy as the whole."""

    def __init__(self, rows: Rows, bucketer: FixedBucketer, indices: range) -> None:
        self._rows = rows
        self._bucketer = bucketer
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> tuple[Request, ...]: ...

    @overload
    def __getitem__(self, index: slice) -> "Batches": ...

    def __getitem__(self, index: int | slice) -> "tuple[Request, ...] | Batches":
        if isinstance(index, slice):
            return Batches(self._rows, self._bucketer, self._indices[index])
        return self._bucketer.batch(self._rows, self._indices[index])


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
