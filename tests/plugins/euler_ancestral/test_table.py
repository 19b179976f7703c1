"""The schedule of noise and which of its steps are taken: by hand, and against diffusers' where the two agree."""

from itertools import pairwise

import pytest
import torch
from diffusers import DDPMScheduler, EulerAncestralDiscreteScheduler
from vidgen_euler_ancestral import table
from vidgen_euler_ancestral.course import course, falls, sigmas_at
from vidgen_euler_ancestral.spacing import bounds, rounded, timesteps

pytestmark = pytest.mark.filterwarnings("ignore:__array")

SCHEDULES = [("linear", 0.0001, 0.02), ("scaled_linear", 0.00085, 0.012)]


@pytest.mark.parametrize(("schedule", "first", "last"), SCHEDULES)
@pytest.mark.parametrize("zero_snr", [False, True])
def test_tables_are_those_of_diffusers_bit_for_bit(schedule, first, last, zero_snr):
    theirs = DDPMScheduler(beta_schedule=schedule, beta_start=first, beta_end=last, rescale_betas_zero_snr=zero_snr)
    betas = table.betas(schedule, first, last, 1000, zero_snr=zero_snr)
    assert torch.equal(betas, theirs.betas)
    assert torch.equal(table.alphas_cumprod(betas), theirs.alphas_cumprod)


def test_zero_snr_keeps_the_first_step_and_leaves_nothing_in_the_last():
    """arXiv 2305.08891, section 3.1; the sampler takes the last step to be at 1 / sqrt(2^-24) = 4096."""
    plain, rescaled = (
        table.alphas_cumprod(table.betas("linear", 0.0001, 0.02, 1000, zero_snr=zero_snr)) for zero_snr in (False, True)
    )
    torch.testing.assert_close(rescaled[0], plain[0], rtol=0, atol=1e-7)
    assert rescaled[-1] == 0
    sigmas = table.sigmas(rescaled)
    assert sigmas[-1] == 4096 < sigmas[-2]
    torch.testing.assert_close(table.sigmas(plain).square(), (1 - plain) / plain)


@pytest.mark.parametrize(
    ("dividend", "divisor", "nearest"), [(7, 2, 4), (5, 2, 2), (10, 4, 2), (14, 4, 4), (8, 3, 3), (7, 3, 2), (6, 3, 2)]
)
def test_halves_are_rounded_to_even(dividend, divisor, nearest):
    assert rounded(dividend, divisor) == nearest == round(dividend / divisor)


def test_spacings_by_hand():
    assert timesteps("trailing", 3, 1000) == [999, 666, 332]  # 1000, 666.67, 333.33
    assert timesteps("trailing", 16, 1000)[-1] == 61  # 62.5
    assert timesteps("leading", 3, 1000) == [666, 333, 0]
    assert timesteps("leading", 3, 1000, offset=1) == [667, 334, 1]
    assert timesteps("linspace", 3, 1000) == [999, 499.5, 0]
    assert timesteps("linspace", 1, 1000) == [999]


def test_every_number_of_steps_is_met():
    """The library gives one timestep too many for 61, 103, 121, ..."""
    for count in range(1, 1001):
        times = timesteps("trailing", count, 1000)
        assert len(times) == count
        assert times[0] == 999
        assert all(time > later for time, later in pairwise(times))


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
@pytest.mark.parametrize("count", [2, 7, 20, 25, 50, 99, 100])
def test_times_and_levels_are_those_of_diffusers(spacing, count):
    theirs = EulerAncestralDiscreteScheduler(timestep_spacing=spacing)
    theirs.set_timesteps(count)
    times = timesteps(spacing, count, 1000)
    torch.testing.assert_close(torch.tensor(times), theirs.timesteps, rtol=1e-6, atol=0)
    sigmas = table.sigmas(theirs.alphas_cumprod).tolist()
    torch.testing.assert_close(torch.tensor(sigmas_at(times, sigmas)), theirs.sigmas[:-1], rtol=1e-5, atol=0)


def test_ranks_share_the_times_out():
    assert [bounds(rank, 3, 1000) for rank in range(3)] == [(0, 332), (333, 666), (667, 999)]
    assert bounds(1, 16, 1000) == (62, 124)  # 62.5 .. 125
    assert bounds(2, 3, 10) == (7, 9)
    assert bounds(5, 1001, 1000) == (0, 999)


@pytest.mark.parametrize("ranks", [1, 2, 7, 8, 48, 999, 1000])
def test_every_time_belongs_to_one_rank(ranks):
    shares = [bounds(rank, ranks, 1000) for rank in range(ranks)]
    assert [low for low, _ in shares] == [0, *(high + 1 for _, high in shares[:-1])]
    assert shares[-1][1] == 999


def test_noise_must_fall():
    assert falls([4096.0, 3.0, 1.0])
    assert not falls([4096.0, 5000.0, 1.0])
    assert not falls([3.0, 3.0])
    assert not falls([3.0, 0.0])
    assert not falls([float("nan")])


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_a_step_is_the_same_by_the_output_and_by_the_data_behind_it(kind):
    steps = course(kind, [9, 5, 1], [30.0, 2.0, 0.1], leading=False).steps
    x, output, noise = torch.randn(3, 2, 3, 5, dtype=torch.float64).unbind()
    for step, fresh in zip(steps, (noise, noise, None), strict=True):
        torch.testing.assert_close(
            step.by_output(x, output, fresh), step.by_data(x, step.data(x, output), fresh), rtol=1e-12, atol=1e-12
        )


def test_a_step_keeps_the_variance_of_the_process():
    """What is left of the noise and what is fresh make up the noise of the next level; data comes at its level."""
    steps = course("v_prediction", [9, 5, 1], [30.0, 2.0, 0.1], leading=False).steps
    for step, after in pairwise(steps):
        left = step.of_given * step.sigma
        assert left**2 + step.of_noise**2 == pytest.approx(after.sigma**2, rel=1e-12)
        assert step.of_given * step.alpha + step.of_data == pytest.approx(after.alpha, rel=1e-12)


def test_the_last_step_is_the_data():
    last = course("epsilon", [5, 1], [2.0, 0.1], leading=True).steps[-1]
    assert (last.of_given, last.of_data, last.of_noise) == (0, 1, 0)


def test_it_begins_with_noise_alone_or_with_the_variance_of_data_and_noise():
    for leading, initial in ((False, 2.0), (True, 5**0.5)):
        made = course("epsilon", [5, 1], [2.0, 0.1], leading=leading)
        assert made.initial == initial
        assert made.start == pytest.approx(initial / 5**0.5)
