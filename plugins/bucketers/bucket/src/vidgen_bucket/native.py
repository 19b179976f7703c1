"""Clips at their own aspect ratio: how many frames of a row are used, and at which size.

Kept out: batches (`vidgen_bucket.ragged`).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from vidgen.errors import UserError
from vidgen.interfaces import Assignment, Bucket, Context, Size3

from vidgen_bucket import NativeOptions
from vidgen_bucket.bucket import shapes_of

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = NDArray[np.floating]
PROBED = 64
"""Multiples along each side of the clip at which tokens per pixel are measured."""


@frozen(kw_only=True)
class NativeSizes:
    """num_frames: that are used, falling. interval: frames of a video between two that are used. multiple: of rows and
    columns. max_pixels: rows times columns, None where tokens alone say how large clips are. max_tokens: of a clip,
    None for no bound. batch_size: of a bucket, 0 where that depends on the batch. tokens: of a clip (T, H, W)."""

    num_frames: tuple[int, ...]
    interval: int
    multiple: int
    max_pixels: int | None
    max_tokens: int | None
    batch_size: int
    tokens: Callable[[Size3], int]

    def assign(self, table: "pa.Table") -> Assignment:
        """Rows to buckets of one size each; the same in every epoch. Never enlarged: rows and columns are cut to
        multiples. Raises: UserError, where the autoencoder cannot take a number of frames."""
        shapes = shapes_of(table)
        frames, reason = self._frames(shapes.frames)
        reason[~((shapes.frames >= 1) & (shapes.height >= 1) & (shapes.width >= 1))] = 0
        rows, columns = self._sides(frames, shapes.height, shapes.width, reason < 0)
        reason[(reason < 0) & ((rows < 1) | (columns < 1))] = 3
        placed = np.flatnonzero(reason < 0)
        side = np.int64(1 << 20)
        keys = (frames[placed].astype(np.int64) * side + rows[placed]) * side + columns[placed]
        found, which = np.unique(keys, return_inverse=True)
        sizes = [self._fitted((int(k // side // side), int(k // side % side), int(k % side))) for k in found]
        bucket = np.full(table.num_rows, -1, np.int32)
        distinct = {size: place for place, size in enumerate(dict.fromkeys(sizes))}
        bucket[placed] = np.array([distinct[size] for size in sizes], np.int32)[which]
        return Assignment(
            buckets=[self._bucket(size) for size in distinct], bucket=bucket, reasons=self._reasons(), reason=reason
        )

    def _frames(self, available: Numbers) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Frames used of each row, and -1 or why there are none: the most with T > f * interval."""
        frames = np.zeros(len(available), np.int32)
        for count in self.num_frames:
            fits = available == 1 if count == 1 else (available > count * self.interval) & (available > 1)
            frames[(frames == 0) & fits] = count
        reason = np.where(frames > 0, -1, np.where(available == 1, 1, 2)).astype(np.int8)
        return frames, reason

    def _sides(
        self, frames: NDArray[np.int32], height: Numbers, width: Numbers, placed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns in multiples, 0 where nothing is left."""
        most = np.full(len(frames), np.inf)
        for count in self.num_frames:
            most[frames == count] = self._pixels(count)
        height, width = (np.where(placed, side, 0) for side in (height, width))
        area = np.maximum(height * width, 1)
        scale = np.minimum(np.sqrt(most / area), 1)
        # A hair more, so that what is a whole multiple but for rounding stays one.
        rows, columns = (np.floor(side * scale / self.multiple + 1e-9).astype(np.int64) for side in (height, width))
        return rows, columns

    def _pixels(self, frames: int) -> float:
        """The largest size of clips of so many frames, from both bounds."""
        most = float("inf") if self.max_pixels is None else float(self.max_pixels)
        if self.max_tokens is None:
            return most
        side = PROBED * self.multiple
        try:
            density = self.tokens((frames, side, side)) / side**2
        except UserError as error:
            raise UserError(f"bucketer: clips of {frames} frames: {error}") from None
        return min(most, self.max_tokens / density)

    def _fitted(self, size: Size3) -> Size3:
        """Multiples to pixels; smaller along the longer side while rounding up gives too many tokens."""
        frames, rows, columns = size[0], size[1] * self.multiple, size[2] * self.multiple
        while self.max_tokens is not None and max(rows, columns) > self.multiple:
            if self.tokens((frames, rows, columns)) <= self.max_tokens:
                break
            rows, columns = (rows - self.multiple, columns) if rows >= columns else (rows, columns - self.multiple)
        return frames, rows, columns

    def _bucket(self, size: Size3) -> Bucket:
        frames, rows, columns = size
        name = f"{frames} frames {rows}x{columns}"
        return Bucket(name=name, num_frames=frames, size=(rows, columns), batch_size=self.batch_size)

    def _reasons(self) -> Sequence[str]:
        videos = [count for count in self.num_frames if count > 1]
        shortest = f"the shortest needs {min(videos) * self.interval + 1} frames" if videos else "there is none"
        return (
            "num_frames, height or width unknown, or not above 0",
            "still images, and num_frames does not hold 1",
            f"videos too short for every num_frames ({shortest})",
            f"too few pixels, also within max_pixels and max_tokens: a side under size_multiple, {self.multiple}",
        )


def native_sizes(options: NativeOptions, context: Context, *, batch_size: int, max_tokens: int | None) -> NativeSizes:
    """From options and what the recipe says besides. Raises: UserError, when they leave sizes or frames open."""
    frames = options.num_frames or ([] if context.num_frames is None else [context.num_frames])
    pixels = options.max_pixels
    if pixels is None and context.image_size is not None and options.max_tokens is None:
        pixels = context.image_size[0] * context.image_size[1]
    if not frames or (pixels is None and max_tokens is None):
        raise UserError(
            "the bucketer misses how large clips are: give it num_frames, such as [51, 1], and max_pixels or "
            "max_tokens, or set num_frames and image_size at the top of the recipe."
        )
    return NativeSizes(
        num_frames=tuple(sorted(set(frames), reverse=True)),
        interval=options.frame_interval or context.frame_interval,
        multiple=options.size_multiple,
        max_pixels=pixels,
        max_tokens=max_tokens,
        batch_size=batch_size,
        tokens=context.tokens or patches_of_16,
    )


def patches_of_16(size: Size3) -> int:
    """Tokens where no model is known: each frame in patches of 16 by 16 pixels."""
    frames, rows, columns = size
    return frames * -(-rows // 16) * -(-columns // 16)
