"""A Gaussian diffusion in T whole steps: its tables, and the moments that follow from them.

Letters: B samples, T steps (frames are not named here). t: (B,) int64 in 0..T-1. Latents have any number of axes after
the first. Sources: arXiv 2006.11239 (DDPM), arXiv 2102.09672 (learned range of the variance).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Level(NamedTuple):
    """Table entries at t, shaped to broadcast over latents; abar is the running product of 1 - beta."""

    alpha: Tensor  # sqrt(abar)
    sigma: Tensor  # sqrt(1 - abar)
    alpha_recip: Tensor  # sqrt(1 / abar)
    noise_ratio: Tensor  # sqrt(1 / abar - 1)
    posterior_data: Tensor
    posterior_x_t: Tensor
    log_beta: Tensor
    log_posterior_variance: Tensor
    log_fixed_variance: Tensor


class Gaussian(NamedTuple):
    """Mean and log variance, which broadcast."""

    mean: Tensor
    log_variance: Tensor


class GaussianDiffusion:
    """Tables in float64 on the CPU, all (T,). Entries gathered for a batch are float32 and on its device.

    betas: variance added in each step. timesteps: what the model calls them. sigma_small: which fixed variance.
    """

    def __init__(self, betas: Tensor, timesteps: Sequence[int], *, sigma_small: bool = False) -> None:
        one = torch.ones(1, dtype=torch.float64, device=betas.device)
        self.betas, self.timesteps, self.sigma_small = betas.double(), list(timesteps), sigma_small
        self.alphas_cumprod = (1 - self.betas).cumprod(0)
        self.alphas_cumprod_prev = torch.cat([one, self.alphas_cumprod[:-1]])
        self.alphas_cumprod_next = torch.cat([self.alphas_cumprod[1:], 0 * one])
        left = 1 - self.alphas_cumprod
        self.posterior_variance = self.betas * (1 - self.alphas_cumprod_prev) / left
        self.posterior_data = self.betas * self.alphas_cumprod_prev.sqrt() / left
        self.posterior_x_t = (1 - self.alphas_cumprod_prev) * (1 - self.betas).sqrt() / left
        # The first entry is 0; the second stands in for it, or with a single step the only beta.
        second = self.posterior_variance[1:2] if len(betas) > 1 else self.betas
        self.log_posterior_variance = torch.cat([second, self.posterior_variance[1:]]).log()
        self.log_beta = self.betas.log()
        large = torch.cat([second, self.betas[1:]]).log()
        self.log_fixed_variance = self.log_posterior_variance if sigma_small else large
        self._on: dict[torch.device, Tensor] = {}

    def __len__(self) -> int:
        return len(self.betas)

    def respaced(self, kept: Sequence[int]) -> "GaussianDiffusion":
        """The process that visits only the kept steps, rising; the model goes on seeing their own numbers."""
        product = self.alphas_cumprod[list(kept)]
        before = torch.cat([torch.ones_like(product[:1]), product[:-1]])
        timesteps = [self.timesteps[i] for i in kept]
        return GaussianDiffusion(1 - product / before, timesteps, sigma_small=self.sigma_small)

    def level(self, t: Tensor, x: Tensor) -> Level:
        """Entries at t (B,), for latents like x."""
        if t.device not in self._on:
            self._on[t.device] = self._tables().float().to(t.device)
        rows = self._on[t.device][:, t].to(torch.promote_types(x.dtype, torch.float32))
        return Level(*rows.view(len(rows), -1, *[1] * (x.dim() - 1)).unbind())

    def _tables(self) -> Tensor:
        product = self.alphas_cumprod
        return torch.stack(
            [
                product.sqrt(),
                (1 - product).sqrt(),
                product.rsqrt(),
                (1 / product - 1).sqrt(),
                self.posterior_data,
                self.posterior_x_t,
                self.log_beta,
                self.log_posterior_variance,
                self.log_fixed_variance,
            ]
        )


def add_noise(x: Tensor, noise: Tensor, level: Level) -> Tensor:
    """x_t: data with noise to that level."""
    return level.alpha * x + level.sigma * noise


def data_from_noise(x_t: Tensor, noise: Tensor, level: Level) -> Tensor:
    """The data that x_t holds if that is its noise."""
    return level.alpha_recip * x_t - level.noise_ratio * noise


def noise_from_data(x_t: Tensor, x: Tensor, level: Level) -> Tensor:
    """The noise that x_t holds if that is its data."""
    return (level.alpha_recip * x_t - x) / level.noise_ratio


def posterior(x: Tensor, x_t: Tensor, level: Level) -> Gaussian:
    """q(x_{t-1} | x_t, x) (arXiv 2006.11239, equation 7), its first log variance that of the second step."""
    return Gaussian(level.posterior_data * x + level.posterior_x_t * x_t, level.log_posterior_variance)


def learned_log_variance(v: Tensor, level: Level) -> Tensor:
    """Between the log of the posterior variance (v = -1) and of beta (v = 1) (arXiv 2102.09672, equation 15)."""
    share = (v + 1) / 2
    return share * level.log_beta + (1 - share) * level.log_posterior_variance
