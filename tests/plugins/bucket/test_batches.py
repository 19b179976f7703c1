"""Rows of buckets to batches."""

import numpy as np
import pytest
from vidgen.interfaces import Bucket
from vidgen_bucket.batches import InOrder, Shuffled, group, make_batches

BUCKETS = [
    Bucket(name=name, num_frames=frames, size=(rows, 8), batch_size=size)
    for name, frames, rows, size in (("a", 1, 5, 4), ("b", 16, 7, 3), ("c", 51, 9, 2))
]
PLACES = np.array([1, -1, 0, 1, 0, 0, 1, 1, -1, 2, 0, 0, 1])


def batches(order, *, drop_last):
    epoch = make_batches(group(BUCKETS, PLACES), order, drop_last=drop_last)
    return [(epoch.bucket(one).name, epoch.batch_rows(one).tolist()) for one in range(len(epoch))]


def test_in_order_buckets_come_by_their_first_rows():
    assert batches(InOrder(), drop_last=True) == [("b", [0, 3, 6]), ("a", [2, 4, 5, 10])]


def test_without_dropping_every_bucket_is_filled_up_with_its_own_rows():
    assert batches(InOrder(), drop_last=False) == [
        ("b", [0, 3, 6]),
        ("b", [7, 12, 0]),
        ("a", [2, 4, 5, 10]),
        ("a", [11, 2, 4, 5]),
        ("c", [9, 9]),
    ]


def test_shuffled_batches_hold_rows_of_their_bucket_once():
    made = batches(Shuffled(3, 0), drop_last=True)
    assert sorted(name for name, _ in made) == ["a", "b"]
    for name, rows in made:
        assert len(set(rows)) == len(rows)
        assert {BUCKETS[PLACES[row]].name for row in rows} == {name}


def test_no_row_is_left_out_in_every_epoch():
    used = {row for epoch in range(20) for _, rows in batches(Shuffled(3, epoch), drop_last=True) for row in rows}
    assert used == set(np.flatnonzero((PLACES == 0) | (PLACES == 1)))


def test_the_rows_of_a_bucket_do_not_depend_on_the_others():
    alone = make_batches(group(BUCKETS, np.where(PLACES == 0, 0, -1)), Shuffled(3, 1), drop_last=True)
    (with_others,) = (rows for name, rows in batches(Shuffled(3, 1), drop_last=True) if name == "a")
    assert alone.batch_rows(0).tolist() == with_others


@pytest.mark.parametrize(("ranks", "dropped", "repeated"), [(1, 5, 5), (2, 4, 6), (3, 3, 6), (7, 0, 7)])
def test_the_batches_are_a_multiple_of_the_ranks(ranks, dropped, repeated):
    epoch = make_batches(group(BUCKETS, PLACES), InOrder(), drop_last=False)
    assert epoch.for_ranks(ranks, True).tolist() == list(range(dropped))
    assert epoch.for_ranks(ranks, False).tolist() == [number % 5 for number in range(repeated)]


def test_no_rows_make_no_batches():
    epoch = make_batches(group(BUCKETS, np.full(5, -1)), Shuffled(0, 0), drop_last=False)
    assert len(epoch) == 0 and len(epoch.for_ranks(3, False)) == 0
