"""Which bucket takes a row: Open-Sora's walk through the levels, for many rows at once.

Kept out: where the random numbers come from, and what the rows were read from.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from vidgen.aspect import Resolution

from vidgen_bucket.levels import Entry, Level

Places = NDArray[np.integer]

ENOUGH = 0.8
"""Share of a resolution's nominal pixels that a row must have."""

UNKNOWN, SMALL, STILL, SHORT, BLOCKED, NOT_DRAWN = range(6)
"""Why a row has no bucket. Of several reasons the last counts: it is what came closest."""


class Uniforms(Protocol):
    """Where random numbers come from."""

    def __call__(self, rows: Places, number: int, draw: int) -> NDArray[np.float64]:
        """In [0, 1), one for each of `rows` (places among those being placed): of the generator that belongs to the row
        and the entry `number`, its first number (draw 0) or second (draw 1)."""
        ...


@frozen(kw_only=True)
class Shapes:
    """Sizes of rows, (rows,) float64 each, NaN where unknown: video frames, height and width in pixels."""

    frames: NDArray[np.float64]
    height: NDArray[np.float64]
    width: NDArray[np.float64]


@frozen(kw_only=True)
class Placed:
    """bucket: (rows,) place among the levels' buckets, -1 for none. reason: (rows,) why there is none, else -1."""

    bucket: NDArray[np.int32]
    reason: NDArray[np.int8]


def place(levels: Sequence[Level], shapes: Shapes, interval: int, uniforms: Uniforms) -> Placed:
    """Walk all rows through the levels. interval: frames between two that are used, 1 for all."""
    walk = _Walk(shapes, interval, uniforms)
    with np.errstate(over="ignore", invalid="ignore"):  # what is absurdly large or unknown may stay so
        area = shapes.height * shapes.width
    left = np.flatnonzero(walk.reason != UNKNOWN)
    for level in levels:
        walk.enter(level, left[area[left] >= ENOUGH * level.resolution.pixels])
        left = left[walk.bucket[left] < 0]
    walk.reason[walk.bucket >= 0] = -1
    return Placed(bucket=walk.bucket, reason=walk.reason)


class _Walk:
    """Rows on their way."""

    def __init__(self, shapes: Shapes, interval: int, uniforms: Uniforms) -> None:
        self._shapes, self._interval, self._uniforms = shapes, interval, uniforms
        known = (shapes.frames >= 1) & (shapes.height > 0) & (shapes.width > 0)
        known &= np.isfinite(shapes.frames) & np.isfinite(shapes.height) & np.isfinite(shapes.width)
        self.bucket = np.full(len(known), -1, np.int32)
        self.reason = np.where(known, SMALL, UNKNOWN).astype(np.int8)

    def enter(self, level: Level, rows: Places) -> None:
        """Rows that are large enough for a level. Those that find no bucket there are left to the next one."""
        nearest = _Nearest(level.resolution)
        stills = self._shapes.frames[rows] == 1
        self._stills(level, nearest, rows[stills])
        self._videos(level, nearest, rows[~stills])

    def _stills(self, level: Level, nearest: "_Nearest", rows: Places) -> None:
        for entry in level.entries:
            if entry.frames == 1:
                self._keep(entry, nearest, rows, draw=0)
                return
        self._note(rows, STILL)

    def _videos(self, level: Level, nearest: "_Nearest", rows: Places) -> None:
        for entry in level.entries:
            if entry.frames == 1 or not len(rows):
                continue
            fits = self._shapes.frames[rows] > entry.frames * self._interval
            if entry.use is None:
                self._keep(entry, nearest, rows[fits], draw=0)
            else:
                fits = self._used(entry, entry.use, rows, fits)
                self._keep(entry, nearest, rows[fits], draw=1)
            rows = rows[~fits]
        self._note(rows, SHORT)

    def _used(self, entry: Entry, use: float, rows: Places, fits: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the rows that fit an entry try it."""
        candidates = np.flatnonzero(fits)
        skipped = candidates[self._uniforms(rows[candidates], entry.number, 0) > use]
        self._note(rows[skipped], NOT_DRAWN)
        fits[skipped] = False
        return fits

    def _keep(self, entry: Entry, nearest: "_Nearest", rows: Places, *, draw: int) -> None:
        """Rows that came to an entry: some stay. draw: which number of the generator decides."""
        if entry.keep == 0:
            self._note(rows, BLOCKED)
            return
        if entry.keep < 1:
            stays = self._uniforms(rows, entry.number, draw) < entry.keep
            self._note(rows[~stays], NOT_DRAWN)
            rows = rows[stays]
        self.bucket[rows] = entry.first + nearest(self._shapes.height[rows] / self._shapes.width[rows])

    def _note(self, rows: Places, reason: int) -> None:
        self.reason[rows] = np.maximum(self.reason[rows], reason)


class _Nearest:
    """Finds the aspect ratio of a table that is nearest to height / width; of equally near ones the table's first."""

    def __init__(self, resolution: Resolution) -> None:
        self._resolution = resolution

    @cached_property
    def _table(self) -> tuple[NDArray[np.float64], Places]:
        """Ratios in rising order, and where in the table each stands."""
        ratios = np.array([float(key) for key in self._resolution.sizes])
        order = np.argsort(ratios)
        return ratios[order], order

    def __call__(self, ratio: NDArray[np.float64]) -> Places:
        """Places in the table, (rows,)."""
        ratios, order = self._table
        above = np.minimum(np.searchsorted(ratios, ratio), len(ratios) - 1)
        below = np.maximum(above - 1, 0)
        over, under = np.abs(ratios[above] - ratio), np.abs(ratios[below] - ratio)
        takes_above = (over < under) | ((over == under) & (order[above] < order[below]))
        found: Places = np.where(takes_above, order[above], order[below])
        return found
