"""Batches of one size."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from attrs import evolve
from vidgen.errors import UserError
from vidgen.interfaces import Context, Request
from vidgen_bucket import FixedOptions
from vidgen_bucket.fixed import build


def make(batch_size=3, num_frames=5, seed=0, **options):
    context = Context(batch_size=batch_size, num_frames=num_frames, image_size=(8, 6), seed=seed)
    return build(FixedOptions(**options), context)


def table(rows):
    return pa.table({"num_frames": [9] * rows})


def rows_of(batches):
    return [request.row for batch in batches for request in batch]


def test_a_batch_asks_for_rows_at_the_recipes_size():
    plan = make(shuffle=False).plan(table(6), epoch=0, num_ranks=1)
    for batch, rows in ((plan[0], (0, 1, 2)), (plan[-1], (3, 4, 5))):
        assert [evolve(request, spares=()) for request in batch] == [Request(row, 5, (8, 6)) for row in rows]
    assert type(plan[0][0].row) is int


def test_every_row_comes_once_an_epoch_when_batches_divide_them():
    assert sorted(rows_of(make().plan(table(24), epoch=2, num_ranks=4))) == list(range(24))


@pytest.mark.parametrize(("rows", "ranks", "batches"), [(24, 4, 8), (23, 4, 4), (7, 2, 2), (11, 1, 3)])
def test_the_remainder_is_dropped_and_ranks_share_no_row(rows, ranks, batches):
    plan = make().plan(table(rows), epoch=1, num_ranks=ranks)
    assert len(plan) == batches
    assert {len(batch) for batch in plan} == {3}
    assert max(Counter(rows_of(plan)).values()) == 1


@pytest.mark.parametrize(("rows", "ranks", "batches"), [(24, 4, 8), (25, 4, 12), (7, 2, 4), (11, 1, 4)])
def test_the_remainder_is_filled_up_with_the_epochs_first_rows(rows, ranks, batches):
    plan = make(drop_last=False).plan(table(rows), epoch=1, num_ranks=ranks)
    assert len(plan) == batches
    order = rows_of(plan)
    assert sorted(order[:rows]) == list(range(rows))
    assert order[rows:] == order[: batches * 3 - rows]


def test_ranks_share_the_batches_that_one_rank_of_their_size_would_make():
    """Rows of a step do not depend on how many ranks make it."""
    two = make(batch_size=3).plan(table(20), epoch=0, num_ranks=2)
    one = make(batch_size=6).plan(table(20), epoch=0, num_ranks=1)
    assert rows_of(two) == rows_of(one)


def test_a_plan_depends_on_epoch_and_seed_alone():
    bucketer = make()
    first = rows_of(bucketer.plan(table(30), epoch=0, num_ranks=1))
    second = rows_of(bucketer.plan(table(30), epoch=1, num_ranks=1))
    assert first != second != sorted(second)
    assert rows_of(bucketer.plan(table(30), epoch=0, num_ranks=1)) == first
    assert rows_of(make().plan(table(30), epoch=1, num_ranks=1)) == second
    assert rows_of(make(seed=1).plan(table(30), epoch=0, num_ranks=1)) != first


def test_without_shuffling_every_epoch_has_the_tables_order():
    plan = make(shuffle=False).plan(table(12), epoch=7, num_ranks=2)
    assert rows_of(plan) == list(range(12))


def test_a_slice_is_the_rest_of_the_plan():
    plan = make().plan(table(30), epoch=0, num_ranks=2)
    assert [tuple(batch) for batch in plan[4:]] == list(plan)[4:]
    assert list(plan[1::2][1:]) == list(plan)[3::2]
    with pytest.raises(IndexError):
        plan[len(plan)]


def test_batches_are_made_when_asked_for():
    """A million rows: the plan is one array of numbers, not a million requests."""
    frames = pa.array(np.full(1_000_001, 9, dtype=np.int32))
    plan = make().plan(pa.table({"num_frames": frames}), epoch=0, num_ranks=1)
    assert len(plan) == 333_333
    arrays = [value for value in plan._make.args if isinstance(value, np.ndarray)]
    assert [array.nbytes for array in arrays] == [4_000_004]
    assert len(plan[333_332]) == 3


def test_rows_with_too_few_frames_are_left_out_and_unknown_ones_stay():
    frames = pa.table({"num_frames": [4, 5, 1, None, 0, 6]})
    assert rows_of(make(shuffle=False).plan(frames, epoch=0, num_ranks=1)) == [1, 3, 5]
    assert sorted(rows_of(make(drop_last=False).plan(frames, epoch=0, num_ranks=1))) == [1, 3, 5]


def test_stills_are_used_where_one_frame_is_wanted():
    frames = pa.table({"num_frames": [1, 7, 0, 1]})
    assert rows_of(make(num_frames=1, shuffle=False).plan(frames, epoch=0, num_ranks=1)) == [0, 1, 3]


def test_all_rows_are_used_where_the_table_tells_no_frames():
    plan = make(shuffle=False).plan(pa.table({"path": ["a", "b", "c"]}), epoch=0, num_ranks=1)
    assert rows_of(plan) == [0, 1, 2]


def test_too_few_rows_are_refused_with_the_reasons_counted():
    frames = pa.table({"num_frames": [1, 1, 3, 4, 9, 9]})
    with pytest.raises(UserError) as error:
        make().plan(frames, epoch=0, num_ranks=2)
    lines = [line.split(maxsplit=1) for line in str(error.value).splitlines()[1:-1]]
    assert lines == [
        ["6", "rows in the dataset"],
        ["2", "- still images, where num_frames is 5"],
        ["2", "- videos of fewer than 5 frames (the longest has 4)"],
        ["2", "rows left"],
        ["6", "rows of one step: batch_size 3 on 2 rank(s)"],
    ]
    assert str(error.value).splitlines()[-1] == (
        "    lower batch_size, use fewer ranks, or give more data; a smaller num_frames keeps shorter videos, "
        "num_frames: 1 keeps still images."
    )


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("names", ["num_frames", "path"])
def test_an_empty_table_is_refused(drop_last, names):
    empty = pa.table({names: pa.array([], type=pa.int64())})
    with pytest.raises(UserError, match="0  rows in the dataset"):
        make(drop_last=drop_last).plan(empty, epoch=0, num_ranks=1)


def test_a_recipe_without_sizes_is_told_the_keys():
    with pytest.raises(UserError, match="misses batch_size, image_size: set them at the top of the recipe"):
        build(FixedOptions(), Context(num_frames=16))
