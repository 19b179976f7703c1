"""Batches of near token count next to each other."""

from itertools import pairwise

import numpy as np
import pytest
from vidgen_bucket.balance import Balance


def tokens(count):
    return np.random.default_rng(1).choice([11.0, 24.0, 57.0, 130.0, 131.0, 900.0], count)


@pytest.mark.parametrize("count", [0, 3, 8, 83, 800])
def test_every_batch_stands_once(count):
    order = Balance(run=8, seed=0).arrange(tokens(count), 4)
    assert sorted(order.tolist()) == list(range(count))


def test_runs_are_near_in_token_count_and_what_is_left_comes_last():
    given = tokens(83)
    made = given[Balance(run=8, seed=0).arrange(given, 0)]
    runs = [made[first : first + 8] for first in range(0, 80, 8)]
    spans = sorted((run.min(), run.max()) for run in runs)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    assert all(made[80:].max() <= low or made[80:].min() >= high for low, high in spans)


def test_runs_come_in_another_order_in_every_epoch():
    given = tokens(160)
    first, again, other = (Balance(run=8, seed=0).arrange(given, epoch).tolist() for epoch in (0, 0, 1))
    assert first == again != other
    assert np.diff([given[first[place]] for place in range(0, 160, 8)]).min() < 0
    assert first != Balance(run=8, seed=1).arrange(given, 0).tolist()
