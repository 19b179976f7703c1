"""Data of which everything is known: independent numbers, each normal with MEAN and SPREAD.

For them the best prediction that a model could make of any noisy x has a formula, and so has what an exact sampler
returns. x = alpha data + sigma noise is normal, too; as time goes on, the probability flow (arXiv 2011.13456, section
4.3) keeps how many deviations each number is off the mean.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from vidgen_diffusion.betas import named_betas

MEAN, SPREAD = 0.7, 0.5
NUM_TIMESTEPS = 1000


class Level(NamedTuple):
    """alpha: share of data in x. sigma: share of noise."""

    alpha: Tensor
    sigma: Tensor

    @property
    def variance(self) -> Tensor:
        """Of x."""
        return self.alpha**2 * SPREAD**2 + self.sigma**2


DATA = Level(torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64))


def straight(t: Tensor) -> Level:
    """Of rectified flow at t in [0, 1000]."""
    u = t.double() / NUM_TIMESTEPS
    return Level(1 - u, u)


def preserving(t: Tensor) -> Level:
    """Of 1000 steps of linear betas at t in [0, 999], log alpha linear between whole ones, as DPM-Solver takes it."""
    log_alphas = 0.5 * torch.log1p(-named_betas("linear", NUM_TIMESTEPS)).cumsum(0)
    below = t.double().floor().clamp(0, NUM_TIMESTEPS - 2)
    low, high = log_alphas.take(below.long()), log_alphas.take(below.long() + 1)
    log_alpha = torch.lerp(low, high, t.double() - below)
    return Level(log_alpha.exp(), torch.sqrt(-torch.expm1(2 * log_alpha)))


def velocity(x: Tensor, t: Tensor) -> Tensor:
    """data - noise to be expected at x (B, ...), at t (B,): their covariance with x over its variance."""
    level = straight(t.view(-1, *[1] * (x.dim() - 1)))
    covariance = level.alpha * SPREAD**2 - level.sigma
    return MEAN + covariance / level.variance * (x - level.alpha * MEAN)


def noise(x: Tensor, t: Tensor) -> Tensor:
    """Noise to be expected at x (B, ...), at t (B,)."""
    level = preserving(t.view(-1, *[1] * (x.dim() - 1)))
    return level.sigma / level.variance * (x - level.alpha * MEAN)


def flow(z: Tensor, start: Level, end: Level) -> Tensor:
    """Where x = z at one level is at another."""
    return end.alpha * MEAN + (end.variance / start.variance).sqrt() * (z - start.alpha * MEAN)
