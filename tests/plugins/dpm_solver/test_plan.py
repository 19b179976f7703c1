"""The solver as numbers: integrals known by hand, orders, and the same updates in diffusers."""

from itertools import product
from math import exp

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler
from vidgen.interfaces import Context
from vidgen_diffusion.prediction import target
from vidgen_dpm_solver import DPMSolverOptions
from vidgen_dpm_solver.plan import make_plan, singlestep_orders, value_weights
from vidgen_dpm_solver.schedule import Level
from vidgen_dpm_solver.scheduler import build

ALGORITHMS, METHODS, TYPES = ("dpmsolver++", "dpmsolver"), ("multistep", "singlestep"), ("dpmsolver", "taylor")
THEIRS = {"dpmsolver": "midpoint", "taylor": "heun"}


def make(steps, **options):
    process = build(DPMSolverOptions(**options), Context())
    return make_plan(process.schedule, process.options, steps), process.schedule


def stops(plan, schedule):
    """Levels of the calls, and that of the end."""
    return [call.level for call in plan] + schedule.levels(torch.tensor([schedule.end], dtype=torch.float64))


def integrated(value, steps, **options):
    """Where the plan leads from 0 with a value that depends on lambda alone, divided by sigma (data) or alpha (noise);
    and the lambdas of start and end."""
    plan, schedule = make(steps, skip_type="logSNR", lower_order_final=False, **options)
    x, base, values = 0.0, 0.0, []
    for call in plan:
        values.insert(0, value(call.level.half_log_snr))
        base = x if call.opens else base
        x = call.ratio * base + sum(weight * known for weight, known in zip(call.weights, values, strict=False))
    end = stops(plan, schedule)[-1]
    return x / (end.sigma if plan[0].data else end.alpha), plan[0].level.half_log_snr, end.half_log_snr


def exact(algorithm_type, power, start, end):
    """The integral of e^at at^power (data), or of -e^-at at^power (noise)."""

    def primitive(at):
        if algorithm_type == "dpmsolver++":
            return exp(at) * (1, at - 1, at**2 - 2 * at + 2)[power]
        return exp(-at) * (1, at + 1, at**2 + 2 * at + 2)[power]

    return primitive(end) - primitive(start)


@pytest.mark.parametrize(("algorithm_type", "method", "order"), list(product(ALGORITHMS, METHODS, (1, 2, 3))))
@pytest.mark.parametrize("solver_type", TYPES)
def test_a_value_that_never_changes_is_integrated_exactly(algorithm_type, method, order, solver_type):
    options = {"algorithm_type": algorithm_type, "method": method, "order": order, "solver_type": solver_type}
    made, start, end = integrated(lambda at: 1.0, 7, **options)
    assert made == pytest.approx(exact(algorithm_type, 0, start, end), rel=1e-11)


@pytest.mark.parametrize("algorithm_type", ALGORITHMS)
def test_singlestep_integrates_straight_values_exactly(algorithm_type):
    """11 calls are three steps of order 3 and one of order 2."""
    options = {"algorithm_type": algorithm_type, "method": "singlestep", "order": 3, "solver_type": "taylor"}
    made, start, end = integrated(lambda at: at, 11, **options)
    assert made == pytest.approx(exact(algorithm_type, 1, start, end), rel=1e-11)


@pytest.mark.parametrize(("algorithm_type", "power"), list(product(ALGORITHMS, (1, 2))))
def test_one_singlestep_of_order_3_integrates_squares_exactly(algorithm_type, power):
    """Checked on the first step, of three calls."""
    plan, _ = make(5, algorithm_type=algorithm_type, method="singlestep", order=3, solver_type="taylor")
    values = [call.level.half_log_snr**power for call in plan[2::-1]]
    moved = sum(weight * value for weight, value in zip(plan[2].weights, values, strict=True))
    end = plan[3].level
    expected = exact(algorithm_type, power, plan[0].level.half_log_snr, end.half_log_snr)
    assert moved == pytest.approx(expected * (end.sigma if plan[0].data else end.alpha), rel=1e-10)


@pytest.mark.parametrize(("algorithm_type", "order", "power"), list(product(ALGORITHMS, (2, 3), (1, 2))))
def test_a_multistep_looks_back_exactly_but_for_the_second_derivative(algorithm_type, order, power):
    """A straight value is integrated exactly; of a square, the published order 3 takes half of what its bend adds."""
    plan, schedule = make(5, algorithm_type=algorithm_type, order=order, solver_type="taylor", lower_order_final=False)
    levels = stops(plan, schedule)
    values = [level.half_log_snr**power for level in levels[3 : 3 - order : -1]]
    moved = sum(weight * value for weight, value in zip(plan[3].weights, values, strict=True))
    start, end = levels[3].half_log_snr, levels[4].half_log_snr
    expected = exact(algorithm_type, power, start, end)
    if power == 2 and order == 3:
        straight = exact(algorithm_type, 1, start, end) - start * exact(algorithm_type, 0, start, end)
        tangent = start**2 * exact(algorithm_type, 0, start, end) + 2 * start * straight
        expected = (tangent + expected) / 2
    moved /= levels[4].sigma if plan[3].data else levels[4].alpha
    assert (moved == pytest.approx(expected, rel=1e-9)) == ((order, power) != (2, 2))


@pytest.mark.parametrize(("kind", "data"), list(product(("epsilon", "sample", "v_prediction", "score"), (True, False))))
def test_a_value_is_what_the_answer_stands_for(kind, data):
    level = Level(0.5, 499.5, 0.6, 0.8, 0.0)
    x, noise = torch.randn(2, 9, dtype=torch.float64)
    x_t = 0.6 * x + 0.8 * noise
    answer = -noise / 0.8 if kind == "score" else target(kind, x, noise, 0.6, 0.8)
    of_state, of_answer = value_weights(kind, level, data=data)
    torch.testing.assert_close(of_state * x_t + of_answer * answer, x if data else noise)


@pytest.mark.parametrize(
    ("order", "steps", "orders"),
    [
        (1, 3, [1, 1, 1]),
        (2, 1, [1]),
        (2, 6, [2, 2, 2]),
        (2, 7, [2, 2, 2, 1]),
        (3, 1, [1]),
        (3, 2, [2]),
        (3, 3, [2, 1]),
        (3, 9, [3, 3, 2, 1]),
        (3, 10, [3, 3, 3, 1]),
        (3, 11, [3, 3, 3, 2]),
    ],
)
def test_singlestep_shares_out_its_calls(order, steps, orders):
    assert singlestep_orders(order, steps) == orders
    plan, _ = make(steps, order=order, method="singlestep")
    assert [len(call.weights) for call in plan] == [i + 1 for size in orders for i in range(size)]
    assert [call.opens for call in plan] == [i == 0 for size in orders for i in range(size)]


@pytest.mark.parametrize(
    ("steps", "lower_order_final", "orders"),
    [
        (9, True, [1, 2, 3, 3, 3, 3, 3, 2, 1]),
        (9, False, [1, 2, 3, 3, 3, 3, 3, 3, 3]),
        (10, True, [1, 2, 3, 3, 3, 3, 3, 3, 3, 3]),
        (3, True, [1, 2, 1]),
    ],
)
def test_multistep_starts_and_ends_on_lower_orders(steps, lower_order_final, orders):
    plan, _ = make(steps, order=3, lower_order_final=lower_order_final)
    assert [len(call.weights) for call in plan] == orders
    assert all(call.opens for call in plan)


def test_singlestep_in_even_times_takes_its_steps_from_the_grid_of_its_calls():
    plan, schedule = make(8, order=3, method="singlestep")
    grid = schedule.grid("time_uniform", 8).tolist()
    assert [call.level.t for call in plan if call.opens] == pytest.approx([grid[0], grid[3], grid[6]])
    first, near, far, end = (call.level.half_log_snr for call in plan[:4])
    assert [near, far] == pytest.approx([first + (end - first) / 3, first + 2 * (end - first) / 3])


def test_singlestep_in_even_log_snr_takes_even_steps():
    plan, _ = make(9, order=3, method="singlestep", skip_type="logSNR")
    opened = torch.tensor([call.level.half_log_snr for call in plan if call.opens])
    torch.testing.assert_close(opened.diff(), opened.diff().mean().expand(3))


@pytest.mark.parametrize("algorithm_type", ALGORITHMS)
def test_order_1_is_ddim(algorithm_type):
    """x = alpha data + sigma noise moves to alpha_t data + sigma_t noise (arXiv 2206.00927, section 4.1)."""
    plan, schedule = make(4, order=1, algorithm_type=algorithm_type)
    for call, end in zip(plan, stops(plan, schedule)[1:], strict=True):
        (weight,) = call.weights
        of_data, of_noise = call.ratio * call.level.alpha, call.ratio * call.level.sigma
        of_data, of_noise = (of_data + weight, of_noise) if call.data else (of_data, of_noise + weight)
        assert (of_data, of_noise) == pytest.approx((end.alpha, end.sigma), rel=1e-12)


def test_denoise_to_zero_ends_on_the_data():
    plan, _ = make(4, algorithm_type="dpmsolver", denoise_to_zero=True)
    last = plan[-1]
    assert len(plan) == 5
    assert (last.level.timestep, last.data, last.ratio, last.weights) == (0.0, True, 0.0, (1.0,))
    assert last.to_value == pytest.approx((1 / last.level.alpha, -last.level.sigma / last.level.alpha))


class Recorded:
    """A model that says what was prepared, whatever it is asked."""

    def __init__(self, answers):
        self.answers = iter(answers)

    def __call__(self, x, t):
        return next(self.answers)


CASES = [(*case, "epsilon", 12) for case in product((1, 2, 3), ALGORITHMS, TYPES)]
CASES += [(3, "dpmsolver++", "dpmsolver", "sample", 8), (2, "dpmsolver", "taylor", "v_prediction", 9)]


@pytest.mark.filterwarnings("ignore:.*deprecated", "ignore:__array__")
@pytest.mark.parametrize(("order", "algorithm_type", "solver_type", "kind", "steps"), CASES)
def test_multistep_goes_where_diffusers_goes_on_the_same_grid(order, algorithm_type, solver_type, kind, steps):
    """Their grids and last steps are others: they are given ours, and few steps only where both lower the order."""
    few = steps < 10
    options = {"order": order, "algorithm_type": algorithm_type, "solver_type": solver_type, "prediction_type": kind}
    process = build(DPMSolverOptions(**options, skip_type="logSNR", lower_order_final=few), Context())
    theirs = DPMSolverMultistepScheduler(
        solver_order=order,
        algorithm_type=algorithm_type,
        solver_type=THEIRS[solver_type],
        prediction_type=kind,
        lower_order_final=few,
        final_sigmas_type="sigma_min",
    )
    theirs.set_timesteps(steps)
    theirs.set_begin_index(0)
    plan = make_plan(process.schedule, process.options, steps)
    theirs.sigmas = torch.tensor([s.sigma / s.alpha for s in stops(plan, process.schedule)], dtype=torch.float64)
    z, *answers = torch.randn(steps + 1, 1, 2, 1, 3, 2)
    expected = z
    for t, answer in zip(theirs.timesteps, answers, strict=True):
        expected = theirs.step(answer, t, expected).prev_sample
    made = process.sample(Recorded(answers), z, {}, steps=steps)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize(("order", "algorithm_type", "solver_type"), list(product((2, 3), ALGORITHMS, TYPES)))
def test_the_last_move_of_a_singlestep_is_that_of_diffusers(order, algorithm_type, solver_type):
    plan, schedule = make(
        2 * order - 1, order=order, algorithm_type=algorithm_type, solver_type=solver_type, method="singlestep"
    )
    theirs = DPMSolverSinglestepScheduler(
        algorithm_type=algorithm_type, solver_type=THEIRS[solver_type], final_sigmas_type="sigma_min"
    )
    theirs.sigmas = torch.tensor([s.sigma / s.alpha for s in stops(plan, schedule)], dtype=torch.float64)
    theirs._step_index = order - 1
    x, *values = torch.randn(order + 1, 5, dtype=torch.float64)
    second, third = (
        theirs.singlestep_dpm_solver_second_order_update,
        theirs.singlestep_dpm_solver_third_order_update,
    )
    last = plan[order - 1]
    made = last.ratio * x + sum(weight * value for weight, value in zip(last.weights, values[::-1], strict=True))
    torch.testing.assert_close(made, (second if order == 2 else third)(values, sample=x))
