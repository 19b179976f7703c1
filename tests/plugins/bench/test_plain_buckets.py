"""The plain reading that the bucketer is measured against, on rows whose bucket can be told by hand."""

import pytest
from vidgen_bench.data_plans import comparisons
from vidgen_bench.plain_buckets import PlainBuckets

CONFIG = {"240p": {1: (0.5, 3), 16: (1.0, 2), 51: ((0.5, 0.5), 1)}, "480p": {51: (0.0, None), 16: (1.0, 4)}}


@pytest.mark.parametrize(
    ("row", "drawn", "bucket"),
    [
        ((17, 480, 854), 0.9, ("480p", 16, "0.56")),
        ((52, 480, 854), 0.4, ("240p", 51, "0.56")),  # too long for 480p, whose 51 frames take nothing
        ((52, 480, 854), 0.5, None),  # tries 51 frames, is not kept
        ((52, 480, 854), 0.6, ("240p", 16, "0.56")),
        ((16, 480, 854), 0.0, None),
        ((1, 426, 240), 0.4, ("240p", 1, "1.78")),
        ((1, 426, 240), 0.5, None),
        ((60, 200, 200), 0.0, None),
    ],
)
def test_a_row_goes_where_the_description_sends_it(row, drawn, bucket):
    assert PlainBuckets(CONFIG).find(row, lambda number, which: drawn) == bucket


def test_batches_hold_each_row_once_and_are_full():
    rows = [(number, (17, 480, 854)) for number in range(11)] + [(number, (60, 240, 426)) for number in range(11, 20)]
    batches = PlainBuckets(CONFIG).epoch(rows, 0)
    flat = [row for batch in batches for row in batch]
    assert len(flat) == len(set(flat)) > 8
    assert [len(batch) for batch in batches if set(batch) <= set(range(11))] == [4, 4]


def test_plans_are_compared_in_time_memory_and_balance():
    assert [one.unit for one in comparisons()] == ["s", "MB", "%"]
