"""The schedulers: time, operations and waiting of a sampler's own, with a model that does nothing.

Each against a plain reading of its description, and against diffusers' in the usual loop. The time of a step is that of
a whole call over its steps: what is prepared before the first one counts. Pairs that define the same get the same noise
and a model that computes, and are refused when their results differ.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import inf

import torch
from attrs import evolve, frozen
from torch import Tensor

from vidgen_bench import plain_rflow, usual_loops
from vidgen_bench.comparison import Alternatives, Comparison, milliseconds
from vidgen_bench.counting import Loop, Model, loop
from vidgen_bench.plain_dpm_solver import PlainDPMSolver
from vidgen_bench.plain_iddpm import PlainIDDPM
from vidgen_bench.sampling import Given, Sampling, idle, opposite, ours, quick, working


@frozen(kw_only=True)
class Rival:
    """make: the sampler of so many steps. goal: its time over ours. model: which makes it give what ours gives of
    `quick`; None where definitions differ, and only the work is the same. suffix: of names in the table."""

    name: str
    make: Callable[[int], Sampling]
    goal: float
    model: Model | None = quick
    suffix: str = ""


@frozen(kw_only=True)
class Subject:
    """A scheduler, and the most operations that a step of it may take."""

    name: str
    steps: int
    rivals: tuple[Rival, ...]
    most: float = inf


def comparisons() -> Iterator[Comparison]:
    """All of them, in the order of the documentation."""
    for subject in SUBJECTS:
        for rival in subject.rivals:
            yield _times(subject, rival)
            yield _operations(subject, rival)
        yield _waits(subject, subject.rivals[0])


def _times(subject: Subject, rival: Rival) -> Comparison:
    return Comparison(
        name=f"{subject.name} step{rival.suffix}",
        against=rival.name,
        goal=rival.goal,
        unit="ms",
        prepare=partial(timed, subject, rival),
        measure=partial(milliseconds, steps=subject.steps),
        warm_up=2,
    )


def _operations(subject: Subject, rival: Rival) -> Comparison:
    return Comparison(
        name=f"{subject.name} operations of a step{rival.suffix}",
        against=rival.name,
        goal=1.0,
        limit=subject.most,
        unit="ops",
        prepare=partial(counted, subject, rival, lambda found: found.operations),
        measure=_reported,
        warm_up=0,
    )


def _waits(subject: Subject, rival: Rival) -> Comparison:
    """Numbers kept on the CPU count when they are read, though nothing waits for them there."""
    return Comparison(
        name=f"{subject.name} host synchronisations in the loop{rival.suffix}",
        against=rival.name,
        goal=0.0,
        limit=0,
        unit="waits",
        prepare=partial(counted, subject, rival, lambda found: found.waits),
        measure=_reported,
        warm_up=0,
    )


def timed(subject: Subject, rival: Rival) -> Alternatives:
    """Both, with a model that does nothing."""
    return alternatives(subject, rival, lambda sample, given: sample(given))


def counted(subject: Subject, rival: Rival, figure: Callable[[Loop], float]) -> Alternatives:
    """Both, each call returning what was counted in it."""

    def run(sample: Sampling, given: Given) -> float:
        return figure(loop(lambda model: sample(evolve(given, model=model)), given.model))

    return alternatives(subject, rival, run)


def alternatives(subject: Subject, rival: Rival, run: Callable[[Sampling, Given], object]) -> Alternatives:
    """Both samplers, made; what is done with them."""
    first, second, given = ours(subject.name, subject.steps), rival.make(subject.steps), idle()

    def difference() -> float:
        return float((first(working(quick)) - second(working(rival.model or quick))).abs().max())

    return Alternatives(
        ours=partial(run, first, given),
        theirs=partial(run, second, given),
        difference=None if rival.model is None else difference,
    )


def iddpm(steps: int, *, filled: bool = False) -> Sampling:
    """The plain reading. Fresh noise for both halves of the guidance, of which one is used."""
    process = PlainIDDPM(steps, filled=filled)

    def sample(given: Given) -> Tensor:
        def same(x: Tensor) -> Tensor:
            return torch.randn(len(x) // 2, *x.shape[1:], generator=given.generator).repeat(2, 1, 1, 1, 1)

        noise = torch.randn_like if given.generator is None else same
        return process.sample(given.model, given.z, y=given.y, null_y=given.null_y, scale=given.scale, noise=noise)

    return sample


def dpm_solver(steps: int) -> Sampling:
    """The plain reading."""
    solver = PlainDPMSolver()
    return lambda given: solver.sample(
        given.model, given.z, y=given.y, null_y=given.null_y, scale=given.scale, steps=steps
    )


def rflow(steps: int) -> Sampling:
    """The plain reading."""
    return lambda given: plain_rflow.sample(
        given.model, given.z, y=given.y, null_y=given.null_y, scale=given.scale, steps=steps
    )


def _reported(call: Callable[[], object]) -> float:
    figure = call()
    assert isinstance(figure, float | int)
    return float(figure)


def _plain(make: Callable[[int], Sampling], goal: float) -> Rival:
    return Rival(name="plain reading", make=make, goal=goal)


def _diffusers(make: Callable[[int], Sampling], model: Model | None) -> Rival:
    return Rival(name="diffusers", make=make, goal=1.0, model=model, suffix=", usual loop")


SUBJECTS = (
    Subject(
        name="iddpm",
        steps=100,
        rivals=(
            Rival(name="plain, as Open-Sora", make=partial(iddpm, filled=True), goal=3.0, suffix=", filled tables"),
            _plain(iddpm, 3.0),
            _diffusers(usual_loops.ddpm, quick),
        ),
    ),
    Subject(
        name="dpm-solver", steps=20, most=99, rivals=(_plain(dpm_solver, 3.0), _diffusers(usual_loops.dpm_solver, None))
    ),
    Subject(name="rflow", steps=30, rivals=(_plain(rflow, 1.3), _diffusers(usual_loops.flow_match, opposite))),
    Subject(name="euler-ancestral", steps=100, rivals=(_diffusers(usual_loops.euler_ancestral, quick),)),
)
