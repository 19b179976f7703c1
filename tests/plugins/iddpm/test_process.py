"""The process's tables and moments, against numbers worked out by hand and against Bayes' rule."""

from math import log

import pytest
import torch
from vidgen import UserError
from vidgen_iddpm.gaussian import (
    Gaussian,
    GaussianDiffusion,
    add_noise,
    data_from_noise,
    learned_log_variance,
    noise_from_data,
    posterior,
)
from vidgen_iddpm.likelihood import discrete_log_likelihood, normal_kl
from vidgen_iddpm.respacing import kept_steps


@pytest.fixture
def process() -> GaussianDiffusion:
    return GaussianDiffusion(torch.tensor([0.1, 0.2, 0.5], dtype=torch.float64), range(3))


def test_the_tables_of_three_steps(process: GaussianDiffusion):
    assert process.alphas_cumprod.tolist() == pytest.approx([0.9, 0.72, 0.36])
    assert process.posterior_variance.tolist() == pytest.approx([0, 0.2 * 0.1 / 0.28, 0.5 * 0.28 / 0.64])
    assert process.log_posterior_variance[0] == process.log_posterior_variance[1]  # log of 0 is replaced
    assert process.log_fixed_variance.exp().tolist() == pytest.approx([0.2 * 0.1 / 0.28, 0.2, 0.5])


def test_a_respaced_process_has_the_same_levels_of_noise(process: GaussianDiffusion):
    short = process.respaced([0, 2])
    assert short.timesteps == [0, 2]
    assert short.alphas_cumprod.tolist() == pytest.approx([0.9, 0.36])
    assert short.respaced([1]).timesteps == [2]


def test_the_posterior_is_bayes_rule(process: GaussianDiffusion):
    """q(x_1 | x_2, x_0) is proportional to q(x_2 | x_1) q(x_1 | x_0): precisions add, means weigh by them."""
    x, x_t = torch.tensor([[0.3]]), torch.tensor([[-1.1]])
    found = posterior(x, x_t, process.level(torch.tensor([1]), x))
    of_step, of_data = 0.8 / 0.2, 1 / 0.1  # step 1 adds 0.2; x_1 holds 0.1 of noise
    mean = (0.8**0.5 / 0.2 * -1.1 + 0.9**0.5 / 0.1 * 0.3) / (of_step + of_data)
    assert found.mean.item() == pytest.approx(mean, rel=1e-5)
    assert found.log_variance.item() == pytest.approx(-log(of_step + of_data), rel=1e-5)


def test_data_and_noise_follow_from_each_other(process: GaussianDiffusion):
    x, noise = torch.randn(2, 3, 2, 4, 5), torch.randn(2, 3, 2, 4, 5)
    level = process.level(torch.tensor([2, 0]), x)
    x_t = add_noise(x, noise, level)
    torch.testing.assert_close(data_from_noise(x_t, noise, level), x)
    torch.testing.assert_close(noise_from_data(x_t, x, level), noise, rtol=1e-4, atol=1e-5)


def test_the_learned_variance_lies_between_its_bounds(process: GaussianDiffusion):
    level = process.level(torch.tensor([2]), torch.zeros(1, 1))
    low, high = learned_log_variance(torch.tensor([[-1.0]]), level), learned_log_variance(torch.tensor([[1.0]]), level)
    assert (low.exp().item(), high.exp().item()) == pytest.approx((0.5 * 0.28 / 0.64, 0.5))


def test_bins_of_a_discrete_likelihood_add_up_to_one():
    values = torch.linspace(-1, 1, 256, dtype=torch.float64)
    gaussian = Gaussian(torch.tensor(0.2, dtype=torch.float64), torch.tensor(-2.0, dtype=torch.float64))
    assert discrete_log_likelihood(values, gaussian).exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_a_gaussian_does_not_diverge_from_itself():
    one = Gaussian(torch.randn(4), torch.randn(4))
    assert normal_kl(one, one).abs().max() < 1e-6
    assert (normal_kl(one, Gaussian(one.mean + 1, one.log_variance)) > 0).all()


@pytest.mark.parametrize(
    ("spacing", "text"),
    [
        ("11", "11 steps cannot be kept of a section of 10 .* ask for 1 to 10"),
        ("6,2", "6 steps cannot be kept of a section of 5"),
        ("ddim7", "no whole stride keeps exactly 7 of 10 steps"),
    ],
)
def test_steps_that_are_not_there_cannot_be_kept(spacing: str, text: str):
    with pytest.raises(UserError, match=text):
        kept_steps(10, spacing)


def test_an_empty_spacing_keeps_all_steps():
    assert kept_steps(4, "") == [0, 1, 2, 3]
