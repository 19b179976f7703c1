"""Divergences and likelihoods of Gaussians, in nats, elementwise."""

from math import log, pi, sqrt

import torch
from torch import Tensor

from vidgen_iddpm.gaussian import Gaussian

HALF_BIN = 1 / 255  # of 256 levels of a pixel in [-1, 1]
EDGE = 0.999
LEAST = 1e-12
BITS = log(2.0)  # nats per bit


def normal_kl(first: Gaussian, second: Gaussian) -> Tensor:
    """KL(first || second)."""
    (m1, lv1), (m2, lv2) = first, second
    return 0.5 * (-1 + lv2 - lv1 + torch.exp(lv1 - lv2) + (m1 - m2).square() * torch.exp(-lv2))


def normal_cdf(x: Tensor) -> Tensor:
    """Share of a standard normal below x, by the tanh approximation that the published likelihood uses."""
    return 0.5 * (1 + torch.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))


def normal_log_density(x: Tensor, gaussian: Gaussian) -> Tensor:
    """Log of the standard normal density at (x - mean) / scale; the scale is not divided by, as published."""
    standard = (x - gaussian.mean) * torch.exp(-0.5 * gaussian.log_variance)
    return -0.5 * (log(2 * pi) + standard.square())


def discrete_log_likelihood(x: Tensor, gaussian: Gaussian) -> Tensor:
    """Log of the probability of x's bin out of 256 in [-1, 1], open at both ends (arXiv 2006.11239, equation 13)."""
    scale = torch.exp(-0.5 * gaussian.log_variance)
    upper, lower = (normal_cdf(scale * (x - gaussian.mean + side)) for side in (HALF_BIN, -HALF_BIN))
    probability = torch.where(x < -EDGE, upper, torch.where(x > EDGE, 1 - lower, upper - lower))
    return probability.clamp(min=LEAST).log()
