"""A bucket_config that suits a table: as many resolutions and numbers of frames as there are rows enough for.

From the largest down, a resolution is taken when it gets a twentieth of the rows at least; those of larger ones that
are not taken count with it. In each, numbers of frames are found the same way among its videos. A last, smallest one is
taken for a hundredth.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vidgen.aspect import Resolution, resolution, resolution_names
from vidgen.errors import UserError
from vidgen.interfaces import Size3

from vidgen_bucket.place import ENOUGH, Shapes

FRAMES = (17, 34, 51, 102, 204, 408, 816)
"""Numbers of frames to choose from: multiples of 17, which is what Open-Sora's autoencoder takes at a time."""
SHARE, LAST_SHARE = 0.05, 0.01
SQUARE = "1.00"

Entries = dict[int, list[Any]]


def suggest(
    shapes: Shapes, interval: int, tokens: Callable[[Size3], int], budget: int
) -> dict[str, dict[str, Entries]]:
    """`{"bucket_config": ...}` with probabilities of 1, as a recipe writes it.

    interval: frames between two that are used. tokens: of a clip (frames, rows, columns). budget: most tokens of a
    batch. Raises: UserError, when no row has a known size that is large enough.
    """
    tables = [one for one in map(resolution, resolution_names()) if SQUARE in one.sizes]
    area = shapes.height * shapes.width
    level = np.searchsorted([ENOUGH * one.pixels for one in tables], np.nan_to_num(area), side="right") - 1
    rows = np.flatnonzero((level >= 0) & (shapes.frames >= 1))
    config: dict[str, Entries] = {}
    for one, members in _split(level[rows], len(tables)):
        entries = _entries(tables[one], shapes.frames[rows[members]], interval, tokens, budget)
        if entries:
            config[tables[one].name] = entries
    if not config:
        raise UserError(
            f"no buckets can be suggested: of {len(area)} rows none has a known num_frames, height and width of "
            f"{np.ceil(ENOUGH * tables[0].pixels):,.0f} pixels or more, and room in a batch."
        )
    return {"bucket_config": config}


def _entries(
    table: Resolution, frames: NDArray[np.float64], interval: int, tokens: Callable[[Size3], int], budget: int
) -> Entries:
    """frames: of the rows that a resolution gets, (rows,)."""
    batch_sizes = {count: _batch_size(tokens, (count, *table.sizes[SQUARE]), budget) for count in (1, *FRAMES)}
    fitting = [count for count in FRAMES if batch_sizes[count]]
    limits = [count * interval for count in fitting]
    longest = np.searchsorted(limits, frames, side="left") - 1  # a video needs more frames than the limit
    found = [fitting[place] for place, _ in _split(longest[(longest >= 0) & (frames > 1)], len(fitting))]
    if batch_sizes[1] and (frames == 1).mean() >= LAST_SHARE:
        found.append(1)
    return {count: [1.0, batch_sizes[count]] for count in sorted(found)}


def _batch_size(tokens: Callable[[Size3], int], size: Size3, budget: int) -> int:
    """Clips of a batch; 0 where not even one fits, or the autoencoder takes none of that size."""
    try:
        return budget // max(tokens(size), 1)
    except UserError:
        return 0


def _split(places: NDArray[np.integer], choices: int) -> Sequence[tuple[int, NDArray[np.bool_]]]:
    """Which of so many choices are taken, from the last to the first, and the members of each: places (members,) are
    each one's highest choice, and it takes a lower one where that is not taken."""
    taken: list[tuple[int, NDArray[np.bool_]]] = []
    pending = np.zeros(len(places), bool)
    for choice in range(choices - 1, -1, -1):
        here = places == choice
        pending |= here
        needed = LAST_SHARE if not (places < choice).any() else SHARE
        if here.any() and pending.sum() >= needed * len(places):
            taken.append((choice, pending))
            pending = np.zeros(len(places), bool)
    return taken
