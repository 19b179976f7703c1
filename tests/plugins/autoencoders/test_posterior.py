"""The Gaussian of an encoder, against torch's own distributions."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from vidgen_autoencoders.posterior import Posterior


@pytest.fixture
def moments():
    return torch.randn(2, 6, 3, 1, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def as_torch(posterior):
    return Normal(posterior.mean, posterior.std)


def test_the_first_half_of_the_channels_is_the_mean_and_the_mode(moments):
    posterior = Posterior(moments)
    assert torch.equal(posterior.mean, moments[:, :3])
    assert torch.equal(posterior.mode(), posterior.mean)
    torch.testing.assert_close(posterior.var, moments[:, 3:].exp())


def test_a_sample_is_the_mean_and_so_many_standard_deviations(moments):
    posterior, noise = Posterior(moments), torch.full((2, 3, 3, 1, 5), -2.0)
    torch.testing.assert_close(posterior.sample(noise), posterior.mean - 2 * posterior.var.sqrt())


def test_divergences_and_likelihood_are_those_of_torch_summed_per_sample(moments):
    one, other = Posterior(moments), Posterior(moments.flip(0) * 0.5)
    standard = Normal(torch.zeros_like(one.mean), torch.ones_like(one.mean))
    sample = moments[:, 1:4]
    torch.testing.assert_close(one.kl(), kl_divergence(as_torch(one), standard).sum((1, 2, 3, 4)))
    torch.testing.assert_close(one.kl(other), kl_divergence(as_torch(one), as_torch(other)).sum((1, 2, 3, 4)))
    torch.testing.assert_close(one.nll(sample), -as_torch(one).log_prob(sample).sum((1, 2, 3, 4)))


def test_a_standard_normal_is_no_distance_from_itself():
    posterior = Posterior(torch.zeros(2, 4, 1, 2, 3))
    assert posterior.kl().tolist() == posterior.kl(posterior).tolist() == [0.0, 0.0]


def test_log_variances_are_clamped():
    logvar = Posterior(torch.tensor([0.0, 0.0, 0.0, -99.0, 5.0, 99.0]).reshape(1, 6, 1, 1)).logvar
    assert logvar.flatten().tolist() == [-30.0, 5.0, 20.0]


def test_a_deterministic_one_has_no_variance_and_no_divergence(moments):
    posterior = Posterior(moments, deterministic=True)
    assert torch.equal(posterior.sample(torch.ones_like(posterior.mean)), posterior.mean)
    assert not posterior.std.any() and not posterior.var.any()
    assert posterior.kl().tolist() == posterior.nll(moments[:, :3]).tolist() == [0.0, 0.0]


def test_half_precision_is_widened(moments):
    posterior = Posterior(moments.bfloat16())
    assert posterior.kl().dtype == posterior.sample(moments[:, :3]).dtype == torch.float32


def test_gradients_reach_mean_and_variance(moments):
    moments.requires_grad_()
    Posterior(moments).sample(torch.ones(2, 3, 3, 1, 5)).sum().backward()
    assert moments.grad.ne(0).all()
