"""The order in which samples are gone through."""

import numpy as np
import pytest
from vidgen_opensora_plan_data.order import arrange, majority


def first(count):
    """Always the first."""
    return 0


def forwards(count):
    """No change of order."""
    return np.arange(count)


def order(shapes, *, batch_size, num_ranks, group_data, permute=forwards, choose=first):
    return arrange(
        np.array(shapes),
        batch_size=batch_size,
        num_ranks=num_ranks,
        group_data=group_data,
        permute=permute,
        choose=choose,
    ).tolist()


def test_ranks_take_turns_within_a_step():
    assert order([0] * 12, batch_size=3, num_ranks=2, group_data=False) == [
        [[0, 2, 4], [1, 3, 5]],
        [[6, 8, 10], [7, 9, 11]],
    ]


def test_the_last_step_is_filled_up_rank_by_rank():
    made = order([0] * 5, batch_size=3, num_ranks=2, group_data=False)
    assert made == [[[0, 2, 4], [1, 3, 1]]]
    assert order([0] * 7, batch_size=2, num_ranks=3, group_data=False)[1] == [[6, 6]] * 3


def test_the_shape_with_the_most_rows_comes_first():
    made = order([0, 1, 2, 1, 2, 1], batch_size=1, num_ranks=1, group_data=True)
    assert [row for step in made for share in step for row in share] == [1, 3, 5, 2, 4, 0]


def test_shapes_of_equally_many_rows_keep_the_order_in_which_they_appear():
    made = order([0, 1, 1, 0], batch_size=2, num_ranks=1, group_data=True)
    assert made == [[[0, 3]], [[1, 2]]]


def test_a_batch_across_two_shapes_keeps_the_more_frequent_one():
    made = order([0, 0, 0, 0, 1, 1, 1], batch_size=3, num_ranks=1, group_data=True)
    assert made[1] == [[4, 5, 4]]


@pytest.mark.parametrize(
    ("shapes", "kept"),
    [([0, 0, 1], [10, 11, 10]), ([0, 1], [11, 11]), ([1, 0], [11, 11]), ([0, 1, 2, 2], [12, 13] * 2)],
)
def test_of_equally_frequent_shapes_the_last_to_appear_counts(shapes, kept):
    turns = iter([0, 1] * 3)
    made = majority(np.arange(10, 10 + len(shapes)), np.array(shapes), lambda count: next(turns) % count)
    assert made.tolist() == kept


def test_repeats_count_once_among_what_may_be_repeated():
    assert majority(np.array([5, 5, 6]), np.array([0, 0, 1]), lambda count: count - 1).tolist() == [5, 5, 5]


@pytest.mark.parametrize("group_data", [True, False])
def test_every_row_comes_once_where_steps_divide_the_shapes(group_data):
    rng = np.random.default_rng(0)
    shapes = [0] * 12 + [1] * 6
    made = order(shapes, batch_size=3, num_ranks=2, group_data=group_data, permute=rng.permutation)
    assert sorted(row for step in made for share in step for row in share) == list(range(18))
    if group_data:
        assert all(len({shapes[row] for row in share}) == 1 for step in made for share in step)


def test_batches_of_many_shapes_hold_one_each():
    rng = np.random.default_rng(1)
    shapes = np.unique(rng.integers(0, 9, 101), return_inverse=True)[1]
    made = arrange(
        shapes,
        batch_size=4,
        num_ranks=3,
        group_data=True,
        permute=rng.permutation,
        choose=lambda count: int(rng.integers(count)),
    )
    assert made.shape == (9, 3, 4)
    assert all(len(set(shapes[share])) == 1 for step in made for share in step)
