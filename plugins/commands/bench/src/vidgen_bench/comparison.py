"""Two ways to the same result, and how they compare: time in turn, medians and spread; or peak memory, or counts."""

import ctypes
import gc
from collections.abc import Callable
from math import inf
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from attrs import frozen

MEGABYTE = 1024  # kB


@frozen(kw_only=True)
class Alternatives:
    """What is compared, made ready. ours, theirs: do it once. difference: the largest between their results; None where
    these are no numbers to compare."""

    ours: Callable[[], object]
    theirs: Callable[[], object]
    difference: Callable[[], float] | None = None


@frozen(kw_only=True)
class Comparison:
    """name: as in the table. against: what the other is. goal: the ratio to reach, theirs over ours. limit: the most
    that ours may measure.

    prepare: makes both ready, outside of what is measured. measure: of one call, in `unit`. warm_up: how often each is
    called before. tolerance: how far results may be apart.
    """

    name: str
    against: str
    goal: float
    prepare: Callable[[], Alternatives]
    measure: Callable[[Callable[[], object]], float]
    unit: str = "s"
    limit: float = inf
    warm_up: int = 1
    tolerance: float = 1e-3

    def verdict(self, outcome: "Outcome") -> str:
        """What was to be reached, and whether it was."""
        met = outcome.ratio >= self.goal and median(outcome.ours) <= self.limit
        wanted = [f"{self.goal:.2f}"] if self.goal else []
        wanted += [f"at most {self.limit:g}"] if self.limit < inf else []
        return f"{', '.join(wanted)} {'met' if met else 'missed'}"


@frozen(kw_only=True)
class Outcome:
    """Figures of one comparison; every call's measure, in order."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    difference: float | None

    @property
    def ratio(self) -> float:
        """Theirs over ours, medians: above 1 is better than theirs."""
        return _over(median(self.theirs), median(self.ours))

    @property
    def ratios(self) -> tuple[float, float]:
        """The smallest and the largest ratio of two calls made one after the other."""
        each = [_over(theirs, ours) for ours, theirs in zip(self.ours, self.theirs, strict=True)]
        return min(each), max(each)


def _over(theirs: float, ours: float) -> float:
    """Counts may be 0: none against none is even."""
    if not ours:
        return inf if theirs else 1.0
    return theirs / ours


def compare(comparison: Comparison, repeats: int) -> Outcome:
    """Call both in turn, so that whatever else the machine does falls on both.

    Raises: AssertionError, when their results differ by more than the tolerance: then there is nothing to compare.
    """
    both = comparison.prepare()
    difference = both.difference() if both.difference else None
    same = difference is None or difference <= comparison.tolerance
    assert same, f"{comparison.name}: results differ by {difference}, more than {comparison.tolerance}"
    for _ in range(comparison.warm_up):
        both.ours(), both.theirs()
    pairs = [(comparison.measure(both.ours), comparison.measure(both.theirs)) for _ in range(repeats)]
    return Outcome(ours=tuple(a for a, _ in pairs), theirs=tuple(b for _, b in pairs), difference=difference)


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = perf_counter()
    call()
    return perf_counter() - start


def processor_seconds(call: Callable[[], object]) -> float:
    """Time of the processor that one call takes, on all threads: what else the machine does matters less."""
    start = process_time()
    call()
    return process_time() - start


def milliseconds(call: Callable[[], object], *, steps: int) -> float:
    """Wall time of a step, out of one call that takes so many."""
    return 1000 * seconds(call) / steps


def peak_megabytes(call: Callable[[], object]) -> float:
    """The most memory that the process held during the call, over what it held before. Linux with glibc."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory that was freed and kept would be used again, unseen
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = _kilobytes("VmRSS")
    call()
    return max(_kilobytes("VmHWM") - before, MEGABYTE) / MEGABYTE


def _kilobytes(name: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0])
