"""Ranks that are told to stop at different moments stop after the same step."""

import pytest
from ranks import on_ranks
from vidgen.engine.agreement import Agreement
from vidgen.mesh import World


def steps_until_all_stop(world: World, told: dict[int, int]) -> int:
    """told: rank -> step from which on it wants to stop. Returns the steps done."""
    agreement = Agreement(world)
    step = 0
    while not agreement(step >= told.get(world.rank, 99)):
        step += 1
    return step


@pytest.mark.parametrize("size", [2, 3])
def test_all_stop_one_step_after_the_first_was_told(size: int) -> None:
    """The answer to a question comes with the next one, so that no step waits for it."""
    assert on_ranks(steps_until_all_stop, size, {1: 4, 0: 6}) == [5] * size


def test_one_rank_stops_at_once() -> None:
    assert steps_until_all_stop(World(), {0: 4}) == 4
