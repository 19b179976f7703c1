"""A bucket_config that suits a table: as many resolutions and numbers of frames as there are rows enough for.

Still images and videos are looked at apart. From the largest resolution down, one is taken when it gets a twentieth of
them at least; those of larger ones that are not taken count with it. In each, numbers of frames are found the same way.
A last, smallest one is taken for a hundredth.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from vidgen.aspect import Resolution, resolution, resolution_names
from vidgen.errors import UserError
from vidgen.interfaces import Size3

from vidgen_bucket.place import ENOUGH, Shapes

FRAMES = (17, 34, 51, 102, 204, 408, 816)
"""Numbers of frames to choose from: multiples of 17, which is what Open-Sora's autoencoder takes at a time."""
SHARE, LAST_SHARE = 0.05, 0.01

Entries = dict[int, list[Any]]
Split = list[tuple[int, NDArray[np.intp]]]


def usual_tables() -> list[Resolution]:
    """Those named after a number of rows; they have the same aspect ratios."""
    return [resolution(name) for name in resolution_names() if not name.isdigit()]


@frozen(kw_only=True)
class Suggestion:
    """What a suggestion is made of.

    tables: resolutions to choose from. frames: of videos, to choose from. interval: frames between two that are used.
    tokens: of a clip (frames, rows, columns). budget: most tokens of a batch.
    """

    tables: Sequence[Resolution]
    frames: Sequence[int]
    interval: int
    tokens: Callable[[Size3], int]
    budget: int

    def config(self, shapes: Shapes) -> dict[str, Entries]:
        """A bucket_config with probabilities of 1, as a recipe writes it, from many pixels to few.

        Raises: UserError, when no row has a known size that is large enough.
        """
        frames = np.nan_to_num(shapes.frames)
        stills, videos = np.flatnonzero(frames == 1), np.flatnonzero(frames > 1)
        area = np.nan_to_num(shapes.height * shapes.width)
        found: dict[str, Entries] = {}
        for kind, counts in ((stills, [1]), (videos, sorted(self.frames))):
            if len(kind) < LAST_SHARE * (len(stills) + len(videos)):
                continue
            for table, members in self._levels(area[kind], counts):
                entries = self._entries(table, frames[kind[members]], counts)
                found[table.name] = {**found.get(table.name, {}), **entries}
        if not any(found.values()):
            raise UserError(self._nothing(len(area)))
        order = sorted(self.tables, key=lambda table: -table.pixels)
        return {table.name: found[table.name] for table in order if found.get(table.name)}

    def _levels(self, area: NDArray[np.float64], counts: Sequence[int]) -> list[tuple[Resolution, NDArray[np.intp]]]:
        """Resolutions in which clips of one of the counts find room in a batch, and the rows of each. area: (rows,)."""
        rising = sorted(self.tables, key=lambda one: one.pixels)
        tables = [one for one in rising if any(self._batch_size(one, count) for count in counts)]
        level = np.searchsorted([ENOUGH * one.pixels for one in tables], area, side="right") - 1
        return [(tables[place], members) for place, members in _split(level, len(tables))]

    def _entries(self, table: Resolution, frames: NDArray[np.float64], counts: Sequence[int]) -> Entries:
        """frames: of the rows that a resolution gets, (rows,). counts: to choose from, rising; [1] for still images."""
        fitting = [count for count in counts if self._batch_size(table, count)]
        limits = [count * self.interval if count > 1 else 0 for count in fitting]
        longest = np.searchsorted(limits, frames, side="left") - 1  # a video needs more frames than the limit
        taken = [fitting[place] for place, _ in _split(longest, len(fitting))]
        return {count: [1.0, self._batch_size(table, count)] for count in sorted(taken)}

    def _batch_size(self, table: Resolution, count: int) -> int:
        """Clips of a batch; 0 where not even one fits, or the autoencoder takes none of that size."""
        size = table.sizes[table.closest_ratio(1, 1)]
        try:
            return self.budget // max(self.tokens((count, *size)), 1)
        except UserError:
            return 0

    def _nothing(self, rows: int) -> str:
        least = min(self.tables, key=lambda table: table.pixels)
        return (
            f"no buckets can be suggested: of {rows} rows none has a known num_frames, height and width, "
            f"{np.ceil(ENOUGH * least.pixels):,.0f} pixels or more, as many frames as the shortest bucket, and room in "
            f"a batch of {self.budget:,} tokens, the largest of the recipe's bucket_config."
        )


def _split(places: NDArray[np.integer], choices: int) -> Split:
    """Which of so many choices are taken, from the last to the first, and the members of each: places (members,) are
    each one's highest choice, below 0 for none, and it takes a lower one where that is not taken."""
    taken: Split = []
    pending = np.zeros(len(places), bool)
    for choice in range(choices - 1, -1, -1):
        here = places == choice
        pending |= here
        lower = ((places >= 0) & (places < choice)).any()
        if here.any() and pending.sum() >= (SHARE if lower else LAST_SHARE) * len(places):
            taken.append((choice, np.flatnonzero(pending)))
            pending = np.zeros(len(places), bool)
    return taken
