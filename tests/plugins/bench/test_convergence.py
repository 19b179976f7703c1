"""The study of convergence: formulas against each other, orders that are known, and a figure that is one."""

from math import hypot
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from vidgen import build
from vidgen.rng import Draws
from vidgen_bench import convergence_report
from vidgen_bench.command import bench
from vidgen_bench.convergence import Curve, Impulses, Sampler, curve, samplers
from vidgen_bench.exact import DATA, MEAN, SPREAD, Level, flow, noise, preserving, straight, velocity

BY_NAME = {sampler.name: sampler for sampler in samplers()}


def test_levels_are_those_of_the_processes() -> None:
    assert straight(torch.tensor([0, 250, 1000])).alpha.tolist() == [1, 0.75, 0]
    levels = preserving(torch.tensor([0, 1, 0.5, 999]))
    torch.testing.assert_close(levels.alpha**2 + levels.sigma**2, torch.ones(4, dtype=torch.float64))
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    torch.testing.assert_close(levels.alpha[[0, 1, 3]] ** 2, (1 - betas).cumprod(0)[[0, 1, 999]])
    torch.testing.assert_close(levels.alpha[2], (levels.alpha[0] * levels.alpha[1]).sqrt())


@pytest.mark.parametrize("t", [70, 500, 930])
def test_predictions_are_what_regression_finds(t: int) -> None:
    """The best linear prediction, fitted to samples; what is normal has no better one."""
    generator = torch.Generator().manual_seed(0)
    data, n = torch.randn(2, 400_000, dtype=torch.float64, generator=generator)
    data = MEAN + SPREAD * data
    probes = torch.tensor([[-1.0, 2.0]], dtype=torch.float64)
    for level, answer, model in ((straight, data - n, velocity), (preserving, n, noise)):
        alpha, sigma = level(torch.tensor(t))
        x = alpha * data + sigma * n
        slope = ((x - x.mean()) * (answer - answer.mean())).mean() / x.var()
        wanted = answer.mean() + slope * (probes - x.mean())
        torch.testing.assert_close(model(probes, torch.tensor([t])), wanted, rtol=0, atol=0.02)


def test_the_flow_follows_the_velocity() -> None:
    """Its derivative in time is noise - data to be expected; and it takes noise to the data."""
    z, start = torch.tensor([[-1.5, 0.3]], dtype=torch.float64), straight(torch.tensor(1000))
    t = torch.tensor([399.999, 400, 400.001], dtype=torch.float64)
    before, at, after = (flow(z, start, straight(one)) for one in t)
    torch.testing.assert_close((after - before) / 0.002 * 1000, -velocity(at, t[1:2]), rtol=1e-6, atol=0)
    torch.testing.assert_close(flow(z, start, DATA), MEAN + SPREAD * z)


def test_there_and_back_is_nowhere() -> None:
    first, second = preserving(torch.tensor(900)), preserving(torch.tensor(30))
    z = torch.tensor([-1.0, 0, 2], dtype=torch.float64)
    torch.testing.assert_close(flow(flow(z, first, second), second, first), z)


def test_euler_steps_have_order_one() -> None:
    found = curve(BY_NAME["rflow"], (16, 32, 64))
    assert found.calls == (16, 32, 64) and found.errors[0] < 0.1
    assert found.order == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("iddpm, DDIM", 1),
        ("iddpm, ancestral", 1),
        ("dpm-solver, order 1", 1),
        ("dpm-solver, order 2, multistep", 2),
        ("dpm-solver, order 2, singlestep", 2),
    ],
)
def test_samplers_have_the_order_that_is_stated(name: str, order: int) -> None:
    assert BY_NAME[name].order == order
    assert curve(BY_NAME[name], (48, 96, 192)).order == pytest.approx(order, abs=0.07)


def test_published_multistep_of_order_three_has_order_two_in_the_end() -> None:
    """It halves the second derivative (see `vidgen_dpm_solver.plan`), with smaller errors than order 2 all the same."""
    second, third = (curve(BY_NAME[f"dpm-solver, order {k}, multistep"], (48, 96, 192)) for k in (2, 3))
    assert third.order == pytest.approx(2, abs=0.15)
    assert all(theirs < ours / 2 for theirs, ours in zip(third.errors, second.errors, strict=True))


def test_more_steps_are_never_worse() -> None:
    for sampler in BY_NAME.values():
        found = curve(sampler, (6, 24, 96))
        assert found.calls == (6, 24, 96), sampler.name
        errors = found.errors
        assert list(errors) == sorted(errors, reverse=True), sampler.name


@pytest.mark.parametrize("name", ["iddpm, ancestral", "euler-ancestral"])
def test_impulses_tell_what_many_draws_would(name: str) -> None:
    """The mean and deviation of 200,000 samples, each with noise of its own."""
    sampler, steps = BY_NAME[name], 5
    scheduler = build("scheduler", sampler.scheduler, num_sampling_steps=steps, **sampler.options)
    z = torch.randn(1, 1, 1, 1, 200_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out = scheduler.sample(lambda x, t: sampler.model(x, t), z, {}, None, 1.0, draws=Draws(0, [(0,)]))
    seen = hypot(float(out.mean()) - MEAN, float(out.std()) - SPREAD)
    assert seen == pytest.approx(curve(sampler, (steps,)).errors[0], abs=0.004)  # 3.5 / sqrt(200,000) of deviations


def test_each_draw_has_its_own_place() -> None:
    draws = Impulses()
    assert [draws.normal("step", (1, 5)).tolist() for _ in range(2)] == [[[[0, 0, 1, 0, 0]]], [[[0, 0, 0, 1, 0]]]]


def test_orders_are_fitted_to_the_last_errors_above_rounding() -> None:
    sampler = BY_NAME["rflow"]
    assert Curve(sampler=sampler, calls=(1, 2, 4, 8), errors=(7.0, 1.0, 0.25, 0.0625)).order == pytest.approx(2)
    assert Curve(sampler=sampler, calls=(1, 2, 4, 8), errors=(1.0, 0.125, 1 / 64, 1e-9)).order == pytest.approx(3)


def test_the_table_and_the_figure_show_every_sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence_report, "STEPS", (6, 12, 24))
    monkeypatch.setenv("COLUMNS", "140")
    path = tmp_path / "figures" / "convergence.png"
    done = CliRunner().invoke(bench, ["convergence", "-o", str(path)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert [line[: len(name)] for line, name in zip(lines[1:], BY_NAME, strict=True)] == list(BY_NAME)
    assert lines[0].split() == ["sampler", "order", "measured", "6", "calls", "12", "calls", "24", "calls"]
    with Image.open(path) as image:
        assert image.format == "PNG" and image.width > 1000
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)


def test_samplers_of_both_kinds_are_among_them() -> None:
    assert {sampler.scheduler for sampler in BY_NAME.values()} == {"rflow", "iddpm", "dpm-solver", "euler-ancestral"}
    random = [sampler.name for sampler in BY_NAME.values() if sampler.ends is None]
    assert random == ["iddpm, ancestral", "euler-ancestral"]
    assert all(isinstance(sampler, Sampler) for sampler in BY_NAME.values())
    assert all(isinstance(level, Level) for sampler in BY_NAME.values() for level in sampler.ends or ())
