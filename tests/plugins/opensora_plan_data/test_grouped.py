"""The bucketer `grouped`."""

import numpy as np
import pyarrow as pa
import pytest
from vidgen.errors import UserError
from vidgen.interfaces import Bucket, Context
from vidgen_opensora_plan_data import GroupedOptions
from vidgen_opensora_plan_data.grouped import build

SHAPES = [(29, 16, 24)] * 9 + [(1, 16, 24)] * 4 + [(29, 24, 16)] * 6


def table(shapes=SHAPES):
    frames, height, width = zip(*shapes, strict=True)
    return pa.table({"num_frames": frames, "height": height, "width": width})


def make(batch_size=3, seed=0, **options):
    return build(GroupedOptions(**options), Context(batch_size=batch_size, seed=seed))


def rows_of(plan):
    return [[request.row for request in batch] for batch in plan]


def test_rows_go_to_the_buckets_of_their_shapes():
    assignment = make().assign(table(), 0)
    assert assignment.buckets[1] == Bucket(name="1x16x24", num_frames=1, size=(16, 24), batch_size=3)
    assert assignment.bucket.tolist() == [0] * 9 + [1] * 4 + [2] * 6
    assert (assignment.reason == -1).all()


def test_grouped_batches_hold_one_shape_and_ask_for_it():
    bucketer = make(group_data=True)
    assert bucketer.ragged is False
    for batch in bucketer.plan(table(), 0, 2):
        assert len(batch) == 3
        assert len({(r.num_frames, *r.size) for r in batch}) == 1
        for request in batch:
            assert (request.num_frames, *request.size) == SHAPES[request.row]


def test_other_batches_hold_any_shape_and_every_row_once():
    bucketer = make(batch_size=2)
    assert bucketer.ragged is True
    plan = bucketer.plan(table(SHAPES[:18]), 0, 3)
    assert sorted(row for batch in rows_of(plan) for row in batch) == list(range(18))
    for request in (request for batch in plan for request in batch):
        assert (request.num_frames, *request.size) == SHAPES[request.row]


def test_a_batch_of_one_is_never_ragged():
    assert make(batch_size=1).ragged is False


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("group_data", [True, False])
def test_every_rank_gets_as_many_batches(ranks, group_data):
    assert len(make(group_data=group_data).plan(table(), 0, ranks)) == -(-len(SHAPES) // (3 * ranks)) * ranks


def test_stand_ins_have_the_same_shape_and_are_others():
    plan = make(group_data=True).plan(table(), 0, 1)
    spares = [(request.row, spare) for batch in plan for request in batch for spare in request.spares]
    assert len(spares) > 50
    assert all(SHAPES[row] == SHAPES[spare] and row != spare for row, spare in spares)
    assert type(spares[0][1]) is int


def test_a_shape_of_one_row_has_no_stand_in():
    assert make(batch_size=1).plan(table(SHAPES[:1]), 0, 1)[0][0].spares == ()


def test_a_plan_depends_on_epoch_and_seed_alone():
    def plan(epoch, seed=0):
        return list(make(group_data=True, seed=seed).plan(table(), epoch, 2))

    assert plan(0) == plan(0)
    assert plan(0) != plan(1) != plan(1, seed=1)


def test_a_slice_is_the_rest_of_the_plan():
    plan = make(group_data=True).plan(table(), 0, 2)
    assert list(plan[3:]) == list(plan)[3:]
    assert list(plan[1::2][1:]) == list(plan)[3::2]


def test_batches_are_made_when_asked_for():
    """A million rows are a few arrays of numbers, not a million requests."""
    many = pa.table({name: pa.array(np.full(1_000_001, 29)) for name in ("num_frames", "height", "width")})
    plan = make(batch_size=5, group_data=True).plan(many, 0, 2)
    assert len(plan) == 200_002
    assert not any(isinstance(value, list | tuple | dict) for value in vars(plan).values())
    assert len(plan[200_001]) == 5


def test_rows_of_unknown_shape_are_left_out_with_the_reason():
    numbers = {"num_frames": [29, None, 29, 0], "height": [16, 16, None, 16], "width": [24] * 4}
    assignment = make().assign(pa.table(numbers), 0)
    assert assignment.bucket.tolist() == [0, -1, -1, -1]
    assert assignment.reason.tolist() == [-1, 0, 0, 0]
    assert rows_of(make(batch_size=1).plan(pa.table(numbers), 0, 1)) == [[0]]


@pytest.mark.parametrize(
    "numbers", [{"path": ["a", "b"]}, {"num_frames": [None, 1], "height": [1, None], "width": [1, 1]}]
)
def test_a_table_without_shapes_is_refused(numbers):
    with pytest.raises(UserError) as error:
        make().plan(pa.table(numbers), 0, 1)
    assert [line.split(maxsplit=1) for line in str(error.value).splitlines()[1:-1]] == [
        ["2", "rows in the dataset"],
        ["2", "- rows whose num_frames, height or width the table does not tell"],
        ["0", "rows left"],
    ]


def test_the_batch_size_is_the_recipes_unless_given():
    assert make(batch_size=5).batch_size == 5
    assert make(batch_size=5, train_batch_size=2).batch_size == 2
    with pytest.raises(UserError, match="misses batch_size: set it at the top of the recipe"):
        make(batch_size=None)
