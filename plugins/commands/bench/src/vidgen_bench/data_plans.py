"""Plans of an epoch: a million rows to buckets and batches, against a plain reading, one row at a time.

The plain reading is measured on a hundredth of the rows and its time is taken a hundred times.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from vidgen import build
from vidgen.interfaces import Bucketer, Request

from vidgen_bench.comparison import Alternatives, Comparison, peak_megabytes, seconds
from vidgen_bench.plain_buckets import PlainBuckets

ROWS, SHARE = 1_000_000, 100
FIRST = 8  # batches made of the plan
RANKS = 8
CONFIG: dict[str, dict[int, tuple[Any, int | None]]] = {
    "144p": {1: (1.0, 475), 51: (1.0, 51), 102: ((1.0, 0.33), 27), 204: ((1.0, 0.1), 13), 408: ((1.0, 0.1), 6)},
    "256": {1: (0.4, 297), 51: (0.5, 20), 102: ((0.5, 0.33), 10), 204: ((0.5, 0.1), 5), 408: ((0.5, 0.1), 2)},
    "240p": {1: (0.3, 297), 51: (0.4, 20), 102: ((0.4, 0.33), 10), 204: ((0.4, 0.1), 5), 408: ((0.4, 0.1), 2)},
    "360p": {1: (0.2, 141), 51: (0.15, 8), 102: ((0.15, 0.33), 4), 204: ((0.15, 0.1), 2), 408: ((0.15, 0.1), 1)},
    "512": {1: (0.1, 141)},
    "480p": {1: (0.1, 89)},
    "720p": {1: (0.05, 36)},
    "1024": {1: (0.05, 36)},
    "1080p": {1: (0.1, 5)},
    "2048": {1: (0.1, 5)},
}
"""That of Open-Sora 1.2's first stage."""


def comparisons() -> Iterator[Comparison]:
    """All of them, in the order of the documentation."""
    yield Comparison(
        name=f"plan of {ROWS:,} rows in buckets, with the first {FIRST} batches",
        against=f"a row at a time ({ROWS // SHARE:,} rows, x {SHARE})",
        goal=20.0,
        limit=1.5,
        prepare=_timed,
        measure=_extrapolated,
        warm_up=0,
        tolerance=0,
    )
    yield Comparison(
        name=f"plan of {ROWS:,} rows in buckets, memory",
        against="one copy of the table",
        goal=0,
        limit=150,
        unit="MB",
        prepare=_weighed,
        measure=peak_megabytes,
    )
    yield Comparison(
        name=f"rank time spent waiting for the step's largest batch, {RANKS} ranks, balance: tokens",
        against="balance: none",
        goal=10.0,
        limit=1.0,
        unit="%",
        prepare=_balanced,
        measure=_value,
        warm_up=0,
    )


def _timed() -> Alternatives:
    plain, rows = PlainBuckets(CONFIG), list(enumerate(_shapes(ROWS // SHARE)))
    table, bucketer = _table(), build("bucketer", "bucket", bucket_config=CONFIG)

    def theirs() -> int:
        plain.epoch(rows, 0)
        return SHARE

    return Alternatives(ours=partial(_begin, bucketer, table), theirs=theirs)


def _begin(bucketer: Bucketer, table: pa.Table) -> int:
    """Plan and make the first batches. Returns how often its time counts: once."""
    assert len(list(islice(bucketer.plan(table, 0, RANKS), FIRST))) == FIRST
    return 1


def _extrapolated(call: Callable[[], object]) -> float:
    """Wall time of one call, times what it returns: how often its time counts."""
    factors: list[Any] = []
    return seconds(lambda: factors.append(call())) * factors[0]


def _weighed() -> Alternatives:
    table, bucketer = _table(), build("bucketer", "bucket", bucket_config=CONFIG)
    return Alternatives(
        ours=partial(_begin, bucketer, table),
        theirs=lambda: np.ones(table.nbytes, np.uint8),
    )


def _balanced() -> Alternatives:
    shares = {balance: _waiting(balance) for balance in ("tokens", "none")}
    return Alternatives(ours=lambda: shares["tokens"], theirs=lambda: shares["none"])


def _value(call: Callable[[], Any]) -> float:
    return float(call())


def _waiting(balance: str) -> float:
    """Of all ranks' time, in percent, when a batch takes as long as it has tokens."""
    bucketer = build("bucketer", "bucket", bucket_config=CONFIG, balance=balance, balance_ranks=RANKS)
    plan = bucketer.plan(_table().slice(0, ROWS // 10), 0, RANKS)
    steps = np.reshape([_tokens(batch) for batch in plan], (-1, RANKS))
    return float(100 * (1 - steps.mean(axis=1).sum() / steps.max(axis=1).sum()))


def _tokens(batch: Sequence[Request]) -> int:
    frames, (rows, columns) = batch[0].num_frames, batch[0].size
    return len(batch) * frames * -(-rows // 16) * -(-columns // 16)


@cache
def _table() -> pa.Table:
    """Three tenths still images; videos of 20 to 900 frames; 240 to 2160 rows, 320 to 3840 columns."""
    frames, height, width = (np.array(one) for one in zip(*_shapes(ROWS), strict=True))
    paths = [f"videos/part-{row % 97:03d}/{row:09d}_clip.mp4" for row in range(ROWS)]
    return pa.table({"path": paths, "num_frames": frames, "height": height, "width": width})


@cache
def _shapes(rows: int) -> list[tuple[int, int, int]]:
    draw = np.random.default_rng(0)
    frames = np.where(draw.random(rows) < 0.3, 1, draw.integers(20, 900, rows)).tolist()
    height = draw.choice([240, 360, 480, 720, 1080, 2160], rows).tolist()
    width = draw.choice([320, 640, 854, 1280, 1920, 3840], rows).tolist()
    return list(zip(frames, height, width, strict=True))
