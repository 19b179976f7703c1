"""The searches themselves: which batch sizes are tried, and which of them is taken. They know nothing of training."""

from collections.abc import Callable

from attrs import frozen

Measure = Callable[[int], float | None]
"""Batch size -> seconds of a step; None where it does not fit in memory."""


@frozen(kw_only=True)
class Found:
    """A batch size and the seconds of its step; 0 and 0 where none will do."""

    batch_size: int
    step_time: float


NOTHING = Found(batch_size=0, step_time=0.0)


def bisect(measure: Measure, *, lower: int, upper: int, goal: float | None) -> Found:
    """The largest size from `lower` to `upper`, both included, that fits; with `goal`, of those whose step takes less
    than so many seconds, the one that comes nearest to it.

    Source: the search of Open-Sora 1.2.0.
    """
    best = NOTHING
    while lower <= upper:
        middle = (lower + upper) // 2
        seconds = measure(middle)
        if seconds is None or (goal is not None and seconds >= goal):
            upper = middle - 1
            continue
        if goal is None or best is NOTHING or abs(seconds - goal) < abs(best.step_time - goal):
            best = Found(batch_size=middle, step_time=seconds)
        lower = middle + 1
    return best


def scan(measure: Measure, *, lower: int, upper: int, step: int, goal: float | None) -> Found:
    """Where memory ends is found first, by halving from `lower` up to but not including `upper`; then every `step`-th
    size below is tried, too. Taken is the size with most clips a second, with `goal` the one whose step comes nearest
    to so many seconds, also from above; of equal ones the first tried.

    Source: the search of Open-Sora 1.1.0.
    """
    times: dict[int, float] = {}
    low, high = lower, upper
    while low < high:
        middle = (low + high) // 2
        if _fits(measure, middle, times):
            low = middle + 1
        else:
            high = middle
    for size in range(lower, high, step):
        if size not in times:
            _fits(measure, size, times)
    if not times:
        return NOTHING
    if goal is None:
        best = max(times, key=lambda size: size / times[size])
    else:
        best = min(times, key=lambda size: abs(times[size] - goal))
    return Found(batch_size=best, step_time=times[best])


def _fits(measure: Measure, size: int, times: dict[int, float]) -> bool:
    seconds = measure(size)
    if seconds is not None:
        times[size] = seconds
    return seconds is not None
