"""The noise schedule in continuous time: its table, what lies between, its inverse and the grids of the solver."""

import math

import pytest
import torch
from vidgen_diffusion.betas import named_betas
from vidgen_dpm_solver.schedule import NoiseSchedule

NAMES = ("linear", "squaredcos_cap_v2", "quad", "const", "jsd", "warmup10", "warmup50")


def make(name="linear", steps=1000):
    return NoiseSchedule(named_betas(name, steps))


@pytest.mark.parametrize("name", NAMES)
def test_at_its_nodes_it_is_the_table(name):
    """alpha^2 is the running product of 1 - beta."""
    schedule = make(name)
    nodes = torch.arange(1, schedule.num_levels + 1, dtype=torch.float64) / schedule.num_levels
    alpha = torch.tensor([level.alpha for level in schedule.levels(nodes)], dtype=torch.float64)
    expected = (1 - named_betas(name, 1000)).cumprod(0).sqrt()[: schedule.num_levels]
    torch.testing.assert_close(alpha, expected, rtol=1e-11, atol=0)


def test_between_nodes_the_mean_of_two_times_has_the_geometric_mean_of_their_alphas():
    one, mean, two = make().levels(torch.tensor([0.25, 0.2505, 0.251], dtype=torch.float64))
    assert mean.alpha == pytest.approx(math.sqrt(one.alpha * two.alpha), rel=1e-13)


def test_beyond_its_ends_it_goes_on_as_beside_them():
    first, second, before = make().log_alpha(torch.tensor([0.001, 0.002, 0.0005], dtype=torch.float64)).tolist()
    assert before == pytest.approx(first - (second - first) / 2, rel=1e-12)


def test_alpha_and_sigma_belong_together_and_to_the_snr():
    for level in make().levels(torch.rand(7, dtype=torch.float64)):
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-14)
        assert level.half_log_snr == pytest.approx(math.log(level.alpha / level.sigma), abs=1e-12)


def test_the_model_sees_times_from_0_to_almost_all_timesteps():
    start, middle, end = make().levels(torch.tensor([1, 0.5005, 0.001], dtype=torch.float64))
    assert [start.timestep, middle.timestep, end.timestep] == pytest.approx([999, 499.5, 0], abs=1e-10)
    assert make(steps=100).levels(torch.ones(1, dtype=torch.float64))[0].timestep == pytest.approx(100 * 96 / 97)


@pytest.mark.parametrize("name", NAMES)
def test_the_time_of_an_snr_is_where_it_has_that_snr(name):
    schedule = make(name)
    t = torch.linspace(1, schedule.end, 57, dtype=torch.float64)
    torch.testing.assert_close(schedule.time(schedule.half_log_snr(t)), t, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("name", "kept"), [("linear", 1000), ("squaredcos_cap_v2", 996), ("const", 504), ("jsd", 999), ("quad", 1000)]
)
def test_the_noisiest_levels_are_left_out(name, kept):
    schedule = make(name)
    assert schedule.num_levels == kept
    assert schedule.half_log_snr(torch.ones(1, dtype=torch.float64)) >= -5.1


def test_grids_are_even_in_what_they_say():
    schedule = make()
    evenness = {
        "time_uniform": lambda t: t,
        "time_quadratic": torch.sqrt,
        "logSNR": schedule.half_log_snr,
    }
    for skip_type, straight in evenness.items():
        times = schedule.grid(skip_type, 7)
        gaps = straight(times).diff()
        assert times.shape == (8,)
        assert times[0].item() == pytest.approx(1, abs=1e-12) and times[-1].item() == pytest.approx(0.001, abs=1e-12)
        torch.testing.assert_close(gaps, gaps.mean().expand(7), rtol=1e-9, atol=0)


def test_a_grid_may_be_finer_than_the_table():
    levels = make().levels(make().grid("time_uniform", 5000))
    snr = torch.tensor([level.half_log_snr for level in levels])
    assert (snr.diff() > 0).all()
