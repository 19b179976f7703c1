"""Samplers side by side: the same results with the same noise, and counts that count."""

from collections.abc import Callable, Iterator

import pytest
import torch
from attrs import evolve
from torch import Tensor
from vidgen_bench import sampling, schedulers
from vidgen_bench.comparison import compare
from vidgen_bench.counting import Loop, Operations, loop
from vidgen_bench.schedulers import SUBJECTS, Rival, Subject

PAIRS = [(subject, rival) for subject in SUBJECTS for rival in subject.rivals]
NAMES = [f"{subject.name}, {rival.name}" for subject, rival in PAIRS]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Latents of the benchmark, made tiny; two clips, so that halves of the guidance cannot be taken for clips."""
    monkeypatch.setattr(sampling, "SHAPE", (2, 3, 2, 3, 5))
    yield


@pytest.mark.parametrize(("subject", "rival"), PAIRS, ids=NAMES)
@pytest.mark.parametrize("steps", [4, 12])
def test_both_return_the_same_where_both_define_the_same(subject: Subject, rival: Rival, steps: int) -> None:
    if rival.name == "diffusers":
        pytest.importorskip("diffusers")
    both = schedulers.timed(evolve(subject, steps=steps), rival)
    first, second = both.ours(), both.theirs()
    assert isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape == sampling.SHAPE
    assert (both.difference is None) == (rival.model is None)
    if both.difference is not None:
        assert both.difference() < 1e-4


def test_where_times_are_whole_diffusers_solver_is_the_same_too() -> None:
    """999 / 27 is whole, 999 / 20 is not: all that keeps results apart is the rounding of times."""
    pytest.importorskip("diffusers")
    ((subject, rival),) = [pair for pair in PAIRS if pair[1].model is None]
    assert (subject.name, rival.name) == ("dpm-solver", "diffusers")
    apart = []
    for steps in (27, 20):
        both = schedulers.timed(evolve(subject, steps=steps), evolve(rival, model=sampling.quick))
        assert both.difference is not None
        apart.append(both.difference())
    assert apart[0] < 1e-4 and apart[1] > 1e-3


def test_noise_that_differs_is_noticed() -> None:
    """The check is worth something: the plain reading with noise of its own is refused."""
    subject, rival = PAIRS[0]
    own = schedulers.iddpm(4)
    strange = evolve(rival, make=lambda _: lambda given: own(evolve(given, generator=None)))
    comparison = next(schedulers.comparisons())
    changed = evolve(comparison, prepare=lambda: schedulers.timed(evolve(subject, steps=4), strange))
    with pytest.raises(AssertionError, match="iddpm step, filled tables: results differ by"):
        compare(changed, 1)


def test_every_scheduler_is_timed_counted_and_watched() -> None:
    found = list(schedulers.comparisons())
    assert len({one.name for one in found}) == len(found) == 2 * len(PAIRS) + len(SUBJECTS)
    assert {one.unit for one in found} == {"ms", "ops", "waits"}
    assert {one.name: one.limit for one in found}["dpm-solver operations of a step"] == 99


@pytest.mark.parametrize("subject", SUBJECTS, ids=[subject.name for subject in SUBJECTS])
def test_our_loops_wait_for_nothing_and_take_fewer_operations(subject: Subject) -> None:
    if subject.rivals[0].name == "diffusers":
        pytest.importorskip("diffusers")
    small = evolve(subject, steps=4)
    waits = schedulers.counted(small, subject.rivals[0], lambda found: found.waits)
    operations = schedulers.counted(small, subject.rivals[0], lambda found: found.operations)
    assert waits.ours() == 0
    ours, theirs = operations.ours(), operations.theirs()
    assert isinstance(ours, float) and isinstance(theirs, float) and 2 < ours <= theirs


def test_operations_are_counted_as_torch_is_asked() -> None:
    x = torch.ones(2, 3)
    with Operations() as operations:
        torch.addcmul(x, x, x).add_(1)[0]  # a view is one, too
    assert operations.seen == [False] * 3


def scripted(body: Callable[[Tensor, int], object]) -> Callable[[Callable[..., Tensor]], None]:
    """A sampler of three steps with something waited for beforehand, which is not the loop."""

    def sample(model: Callable[..., Tensor]) -> None:
        x = torch.ones(3)
        bool(x.sum() > 0), x.tolist()
        for i in range(3):
            x = model(x) * 2
            body(x, i)

    return sample


def test_what_comes_before_the_first_call_of_the_model_is_not_the_loop() -> None:
    assert loop(scripted(lambda x, i: None), lambda x: x) == Loop(operations=1.0, waits=0)
    assert loop(scripted(lambda x, i: None), lambda x: x + 1) == Loop(operations=2.0, waits=0)


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x[0].item(),
        lambda x: float(x[0]),
        lambda x: bool(x[0] > 0),
        lambda x: [0, 1, 2, 3, 4, 5, 6, 7, 8][x[0].long()],
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: torch.where(x > 0),
        lambda x: torch.equal(x, x),
        lambda x: x.masked_select(x > 0),
        lambda x: x.unique(),
    ],
    ids=["item", "float", "bool", "index", "tolist", "numpy", "nonzero", "mask", "where", "equal", "select", "unique"],
)
def test_reading_a_value_is_a_wait(read: Callable[[Tensor], object]) -> None:
    """Once each in three steps, the last of them included; in the second step alone, once."""
    assert loop(scripted(lambda x, i: read(x)), lambda x: x).waits == 3
    assert loop(scripted(lambda x, i: read(x) if i == 1 else None), lambda x: x).waits == 1


def test_a_copy_to_the_host_is_a_wait() -> None:
    """Seen without an accelerator by tensors that have a device and no numbers."""
    from vidgen_bench.counting import _to_host

    there, here = torch.empty(3, device="meta"), torch.empty(3)
    assert _to_host((there,), here) and _to_host((here, there), here)
    assert not _to_host((here,), there) and not _to_host((here,), here) and not _to_host((there, here), there)
