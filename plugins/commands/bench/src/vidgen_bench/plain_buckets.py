"""Assignment to buckets and batches as their description reads: one row at a time, numbers of Python.

What the bucketer is measured against. Source: Open-Sora 1.2's documentation of its bucket configuration; each row draws
from generators of its own, as there.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from vidgen.aspect import Resolution, resolution

Draw = Callable[[int, int], float]
"""(number of the entry, first or second number) -> in [0, 1)."""
Row = tuple[int, int, int]
"""Frames, height, width."""
Key = tuple[str, int, str]
"""Resolution, frames, aspect ratio."""

Entries = Sequence[tuple[int, int, Any, int | None]]
"""Number, frames, probabilities and batch size."""


class PlainBuckets:
    """A bucket_config."""

    def __init__(self, config: Mapping[str, Mapping[int, tuple[Any, int | None]]]) -> None:
        self.levels: list[tuple[Resolution, Entries]] = []
        number = 0
        for name in sorted(config, key=lambda name: -resolution(name).pixels):
            entries = []
            for frames in sorted(config[name], reverse=True):
                entries.append((number, frames, *config[name][frames]))
                number += 1
            self.levels.append((resolution(name), entries))
        self.sizes = {(table.name, one[1]): one[3] for table, entries in self.levels for one in entries}

    def find(self, row: Row, draw: Draw) -> Key | None:
        """The bucket of a row, None where it has none."""
        frames, height, width = row
        for table, entries in self.levels:
            if height * width < 0.8 * table.pixels:
                continue
            found = self._still(entries, draw) if frames == 1 else self._video(entries, frames, draw)
            if found is not None:
                return table.name, found, table.closest_ratio(height, width)
        return None

    def _still(self, entries: Entries, draw: Draw) -> int | None:
        for number, frames, keep, _ in entries:
            if frames == 1:
                return 1 if draw(number, 0) < keep else None
        return None

    def _video(self, entries: Entries, num_frames: int, draw: Draw) -> int | None:
        for number, frames, keep, _ in entries:
            pair = isinstance(keep, tuple)
            if frames == 1 or num_frames <= frames or (pair and draw(number, 0) > keep[1]):
                continue
            stays = keep[0] if pair else keep
            return frames if stays >= 1 or draw(number, int(pair)) < stays else None
        return None

    def epoch(self, rows: Iterable[tuple[int, Row]], seed: int) -> list[list[int]]:
        """Batches of row numbers in random order. rows: number and shape of each."""
        groups: dict[Key, list[int]] = defaultdict(list)
        for number, row in rows:
            found = self.find(row, own_draws(seed + number))
            if found is not None:
                groups[found].append(number)
        order = np.random.default_rng(seed)
        batches = []
        for (name, frames, _), members in groups.items():
            size = self.sizes[name, frames] or len(members)
            mixed = order.permutation(members).tolist()
            batches += [mixed[first : first + size] for first in range(0, len(mixed) - size + 1, size)]
        return [batches[one] for one in order.permutation(len(batches))]


def own_draws(seed: int) -> Draw:
    """Of one row: a generator for each entry, made when it is asked for."""
    return lambda number, which: float(np.random.default_rng(seed + number).random(2)[which])
