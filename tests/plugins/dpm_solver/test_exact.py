"""Data whose exact solution is known: independent normal numbers.

The noise in x_t is expected to be sigma (x_t - alpha mean) / v with v = alpha^2 std^2 + sigma^2, and the process keeps
(x_t - alpha mean) / sqrt(v) as it is. Grids are even in log SNR, in which the model is smooth although the table of the
schedule has corners: so errors fall as the order says.
"""

from itertools import product
from math import log2

import pytest
import torch
from vidgen.interfaces import Context
from vidgen_diffusion.prediction import data_from, target
from vidgen_dpm_solver import DPMSolverOptions
from vidgen_dpm_solver.scheduler import build

MEAN, STD = 0.7, 0.3
ALGORITHMS, TYPES = ("dpmsolver++", "dpmsolver"), ("dpmsolver", "taylor")


def variance(level):
    return level.alpha**2 * STD**2 + level.sigma**2


def solved(steps, kind="epsilon", **options):
    """The sampler's result and the exact one, in float64."""
    process = build(DPMSolverOptions(**{"skip_type": "logSNR", "prediction_type": kind, **options}), Context())
    schedule = process.schedule

    def model(x, t):
        (level,) = schedule.levels(t[:1] / schedule.num_timesteps + schedule.end)
        noise = level.sigma * (x - level.alpha * MEAN) / variance(level)
        data = data_from("epsilon", noise, x, level.alpha, level.sigma)
        return -noise / level.sigma if kind == "score" else target(kind, data, noise, level.alpha, level.sigma)

    z = torch.linspace(-2, 2, 30, dtype=torch.float64).view(1, 2, 5, 3, 1)
    start, end = schedule.levels(torch.tensor([1, schedule.end], dtype=torch.float64))
    wanted = end.alpha * MEAN + (variance(end) / variance(start)) ** 0.5 * (z - start.alpha * MEAN)
    return process.sample(model, z, {}, steps=steps), wanted


def error(steps, **options):
    made, wanted = solved(steps, **options)
    return (made - wanted).abs().max().item()


@pytest.mark.parametrize(
    ("algorithm_type", "method", "order", "solver_type"),
    list(product(ALGORITHMS, ("multistep", "singlestep"), (1, 2), TYPES)),
)
def test_errors_of_orders_1_and_2_fall_with_that_power_of_the_steps(algorithm_type, method, order, solver_type):
    options = {"algorithm_type": algorithm_type, "method": method, "order": order, "solver_type": solver_type}
    assert log2(error(80, **options) / error(160, **options)) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(("algorithm_type", "solver_type"), list(product(ALGORITHMS, TYPES)))
def test_errors_of_singlestep_order_3_fall_with_the_third_power(algorithm_type, solver_type):
    """With 3 k + 2 calls: another remainder ends on a step of order 1. 119 are 40 steps, 239 are 80."""
    options = {"algorithm_type": algorithm_type, "method": "singlestep", "order": 3, "solver_type": solver_type}
    assert log2(error(119, **options) / error(239, **options)) == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize("algorithm_type", ALGORITHMS)
def test_errors_of_multistep_order_3_are_smaller_but_fall_with_the_square(algorithm_type):
    """The published formula takes the second derivative as half of what it is."""
    coarse, fine = (error(steps, algorithm_type=algorithm_type, order=3) for steps in (80, 160))
    assert log2(coarse / fine) == pytest.approx(2, abs=0.1)
    assert fine < 0.4 * error(160, algorithm_type=algorithm_type, order=2)


@pytest.mark.parametrize(
    ("algorithm_type", "kind"), list(product(ALGORITHMS, ("epsilon", "sample", "v_prediction", "score")))
)
def test_what_the_model_predicts_changes_nothing(algorithm_type, kind):
    made, _ = solved(9, kind=kind, algorithm_type=algorithm_type)
    expected, _ = solved(9, algorithm_type=algorithm_type)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {"skip_type": "time_uniform"},
        {"skip_type": "time_quadratic", "algorithm_type": "dpmsolver"},
        {"noise_schedule": "squaredcos_cap_v2"},
        {"noise_schedule": "warmup10", "diffusion_steps": 300},
        {"noise_schedule": "jsd", "skip_type": "time_quadratic", "method": "singlestep", "order": 3},
    ],
)
def test_every_grid_and_schedule_comes_close(options):
    made, wanted = solved(150, **options)
    torch.testing.assert_close(made, wanted, rtol=0, atol=0.02)


def test_there_may_be_more_steps_than_in_training():
    made, wanted = solved(1500, skip_type="time_uniform")
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-3)


def test_denoise_to_zero_returns_the_data_expected_at_the_end():
    """Of the state there, which is the result without it."""
    denoised, _ = solved(9, denoise_to_zero=True)
    last, _ = solved(9)
    (end,) = build(DPMSolverOptions(), Context()).schedule.levels(torch.tensor([0.001], dtype=torch.float64))
    expected = MEAN + end.alpha * STD**2 / variance(end) * (last - end.alpha * MEAN)
    torch.testing.assert_close(denoised, expected)
