"""The plain reading of buckets that plans are measured against decides as the bucketer does."""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from vidgen_bench.data_plans import CONFIG, _shapes
from vidgen_bench.plain_buckets import PlainBuckets
from vidgen_bucket.levels import buckets_of, walk
from vidgen_bucket.place import Shapes, place


def test_both_readings_decide_alike_where_they_draw_the_same_numbers() -> None:
    rows, levels, plain = _shapes(3001), walk(CONFIG), PlainBuckets(CONFIG)
    numbers = np.random.default_rng(0).random((30, 2, len(rows)))
    frames, height, width = np.array(rows, np.float64).T
    shapes = Shapes(frames=frames, height=height, width=width)
    made = place(levels, shapes, 1, lambda some, number, which: numbers[number, which, some]).bucket
    names = [one.name.replace(" frames", "").replace(" frame", "") for one in buckets_of(levels)]
    wanted = [plain.find(row, partial(_number, numbers, one)) for one, row in enumerate(rows)]
    told = [None if one is None else " ".join(map(str, one)) for one in wanted]
    assert [None if place < 0 else names[place] for place in made] == told
    assert 0 < sum(one is None for one in told) < len(told)


def _number(numbers: NDArray[np.float64], row: int, entry: int, which: int) -> float:
    return float(numbers[entry, which, row])
