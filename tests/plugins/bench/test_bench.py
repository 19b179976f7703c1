"""Benchmarks: what is compared is the same thing, and figures are what was measured. Nothing here is timed."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from pathlib import Path

import pytest
import torch
import vidgen
from attrs import evolve
from click.testing import CliRunner
from vidgen_bench import models
from vidgen_bench.command import bench
from vidgen_bench.comparison import Alternatives, Comparison, Outcome, compare, milliseconds, peak_megabytes
from vidgen_bench.plain_stdit3 import PlainSTDiT3
from vidgen_bench.report import report


def comparison(name: str = "a thing", difference: float | None = 0.0) -> Comparison:
    """Ours costs 1, 2, 3, ...; theirs 10 times as much."""
    costs = {"ours": iter(range(1, 9)), "theirs": iter(range(10, 90, 10))}
    both = Alternatives(
        ours=lambda: "ours", theirs=lambda: "theirs", difference=None if difference is None else lambda: difference
    )

    def measure(call: Callable[[], object]) -> float:
        return float(next(costs[str(call())]))

    return Comparison(name=name, against="another", goal=2.0, prepare=lambda: both, measure=measure)


def test_both_are_measured_in_turn_and_the_medians_count() -> None:
    outcome = compare(comparison(), 3)
    assert outcome == Outcome(ours=(1, 2, 3), theirs=(10, 20, 30), difference=0.0)
    assert (outcome.ratio, outcome.ratios) == (10.0, (10.0, 10.0))
    assert Outcome(ours=(1, 2, 4), theirs=(4, 2, 2), difference=None).ratios == (0.5, 4.0)


def test_what_gives_other_results_is_not_compared() -> None:
    with pytest.raises(AssertionError, match=r"a thing: results differ by 0\.5"):
        compare(comparison(difference=0.5), 1)


def test_a_count_may_be_none_and_may_have_a_limit(tmp_path: Path) -> None:
    """None against some is without end, and no number in JSON; none against none is even."""
    none, some = Outcome(ours=(0,), theirs=(3,), difference=None), Outcome(ours=(3,), theirs=(9,), difference=None)
    assert (none.ratio, Outcome(ours=(0,), theirs=(0,), difference=None).ratio) == (inf, 1.0)
    limited = evolve(comparison(), goal=0.0, limit=2)
    assert (limited.verdict(none), limited.verdict(some)) == ("at most 2 met", "at most 2 missed")
    assert evolve(comparison(), limit=3).verdict(some) == "2.00, at most 3 met"
    assert comparison().verdict(Outcome(ours=(3,), theirs=(5,), difference=None)) == "2.00 missed"
    nothing = Alternatives(ours=lambda: 0.0, theirs=lambda: 1.0)
    free = evolve(comparison(), prepare=lambda: nothing, measure=lambda call: call())
    report([free], only="", repeats=1, threads=None, json_path=tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text())["figures"]["a thing"]["ratio"] is None


def test_milliseconds_are_those_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0])
    monkeypatch.setattr("vidgen_bench.comparison.perf_counter", lambda: next(clock))
    assert milliseconds(lambda: None, steps=40) == 50


def test_figures_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "figures.json"
    report([comparison(), comparison("left out")], only="thing", repeats=2, threads=None, json_path=path)
    shown = capsys.readouterr().out
    assert "10.00 (10.00 to 10.00)" in shown and "2.00 met" in shown and "left out" not in shown
    figures = json.loads(path.read_text())
    assert figures["torch"] == torch.__version__
    assert figures["figures"]["a thing"]["theirs"] == [10, 20] and list(tmp_path.iterdir()) == [path]


def test_memory_is_the_peak_over_what_was_held_before() -> None:
    held = torch.zeros(8_000_000)
    assert 28 < peak_megabytes(lambda: (held + 1).sum()) < 60  # 32 million bytes


def test_the_command_lists_what_it_can_do() -> None:
    shown = CliRunner().invoke(bench, ["--help"])
    assert shown.exit_code == 0
    assert {"models", "schedulers", "convergence"} <= set(shown.output.split())


def test_every_comparison_has_its_own_name() -> None:
    names = [one.name for one in models.comparisons()]
    assert len(set(names)) == len(names) > 15
    assert {name.split()[0] for name in names} == {"DiT", "PixArt", "Latte", "STDiT3", "linear", "loading"}


SIZE = {"hidden_size": 48, "num_heads": 4, "depth": 2}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The benchmark's own networks, made tiny."""
    monkeypatch.setattr(models, "SIZE", SIZE)
    yield


@pytest.mark.parametrize("make", [models.dit, models.pixart], ids=["DiT", "PixArt"])
def test_diffusers_classes_give_the_same_results_with_the_same_weights(
    small: None, make: Callable[[], models.Pair]
) -> None:
    pytest.importorskip("diffusers")
    both = models.ready(make, models.forward, compiled=False)
    assert both.difference is not None and both.difference() < 1e-4


def test_latte_and_diffusers_do_the_same_work(small: None) -> None:
    """Both networks are what the table says: the same width, depth and tokens."""
    pytest.importorskip("diffusers")
    pair = models.latte()
    assert not pair.same and pair.call_ours(pair.ours).shape == pair.call_theirs(pair.theirs).shape
    blocks = [*pair.theirs.transformer_blocks, *pair.theirs.temporal_transformer_blocks]
    assert len(blocks) == len(pair.ours.repeated_blocks())


@pytest.mark.parametrize("masked", [False, True])
def test_the_plain_reading_of_stdit3_gives_the_same_results(masked: bool) -> None:
    given = models.stdit3_inputs(frames=3, side=6, lengths=[5, 120])
    if masked:
        given["x_mask"] = torch.tensor([[True, False, True], [False, True, True]])
    pair = models.stdit3_pair(SIZE, given)
    make = partial(lambda one: one, pair)
    both = models.ready(make, models.forward, compiled=False)
    assert isinstance(pair.theirs, PlainSTDiT3) and isinstance(pair.ours, type(vidgen.build("model", "STDiT3", **SIZE)))
    assert both.difference is not None and both.difference() < 1e-4
