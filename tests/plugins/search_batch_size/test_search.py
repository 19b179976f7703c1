"""What the searches find and what they try, against looking at every size."""

from collections.abc import Callable

import pytest
from vidgen_search_batch_size.search import NOTHING, Found, bisect, scan


def machine(most: int, tried: list[int]) -> Callable[[int], float | None]:
    """A step of n clips takes 2 + n / 4 seconds; more than `most` clips do not fit."""

    def measure(size: int) -> float | None:
        tried.append(size)
        return 2 + size / 4 if size <= most else None

    return measure


@pytest.mark.parametrize("goal", [None, 2.2, 3.0, 4.1, 99.0])
@pytest.mark.parametrize("most", [0, 1, 3, 7, 30])
@pytest.mark.parametrize(("lower", "upper"), [(1, 1), (1, 8), (3, 20), (5, 6)])
def test_bisection_finds_the_largest_size_that_fits_and_is_fast_enough(
    goal: float | None, most: int, lower: int, upper: int
) -> None:
    tried: list[int] = []
    found = bisect(machine(most, tried), lower=lower, upper=upper, goal=goal)
    good = [size for size in range(lower, upper + 1) if size <= most and (goal is None or 2 + size / 4 < goal)]
    assert found == (Found(batch_size=good[-1], step_time=2 + good[-1] / 4) if good else NOTHING)
    assert len(tried) == len(set(tried)) <= (upper - lower + 1).bit_length()


def test_bisection_takes_no_step_as_long_as_the_goal() -> None:
    assert bisect(machine(9, []), lower=1, upper=9, goal=3.0).batch_size == 3


@pytest.mark.parametrize("most", [0, 2, 6, 13, 40])
def test_a_scan_takes_most_clips_a_second(most: int) -> None:
    tried: list[int] = []
    found = scan(machine(most, tried), lower=2, upper=15, step=3, goal=None)
    fitting = [size for size in tried if size <= most]
    assert found.batch_size == max(fitting, default=0)
    assert set(range(2, min(most, 14) + 1, 3)) <= set(tried) and len(tried) == len(set(tried))


def test_a_scan_comes_as_near_to_the_goal_as_it_can_from_above_too() -> None:
    """Tried are 8, 5, 3, 4 (does not fit from 4 on), then 2: steps of 2.75 and 2.5 s."""
    tried: list[int] = []
    found = scan(machine(3, tried), lower=2, upper=14, step=2, goal=2.65)
    assert (found, tried) == (Found(batch_size=3, step_time=2.75), [8, 5, 3, 4, 2])


def test_of_equally_good_sizes_a_scan_takes_the_first_it_tried() -> None:
    assert scan(lambda size: float(size), lower=1, upper=8, step=1, goal=None).batch_size == 4
