"""The parts of the training loss, per sample.

Letters: B samples, C channels, T latent frames.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from vidgen_diffusion import checks
from vidgen_diffusion.frames import mean_of_frames

from vidgen_iddpm.gaussian import Gaussian, Level, data_from_noise, learned_log_variance, posterior
from vidgen_iddpm.likelihood import BITS, discrete_log_likelihood, normal_kl


class Counted(NamedTuple):
    """What a loss is averaged over; see `vidgen_diffusion.frames.mean_of_frames`. mask: (B, T). valid: (B, T, H, W)."""

    mask: Tensor | None = None
    valid: Tensor | None = None


def halves(out: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """The prediction and what says its variance. Raises: UserError, when the model has no channels for it."""
    checks.variance(out.shape[1], channels)
    predicted, v = out.chunk(2, dim=1)
    return predicted, v


def step_distribution(
    predicted: Tensor, v: Tensor | None, x_t: Tensor, level: Level, *, predict_xstart: bool, clip: bool = False
) -> tuple[Gaussian, Tensor]:
    """p(x_{t-1} | x_t) and the data predicted. v: second half of the channels, None for a fixed variance."""
    data = predicted if predict_xstart else data_from_noise(x_t, predicted, level)
    if clip:
        data = data.clamp(-1, 1)
    log_variance = level.log_fixed_variance if v is None else learned_log_variance(v, level)
    return Gaussian(posterior(data, x_t, level).mean, log_variance), data


def bound_term(x: Tensor, x_t: Tensor, p: Gaussian, t: Tensor, level: Level, counted: Counted) -> Tensor:
    """This step's share of the variational bound in bits per element, (B,): the divergence from the true posterior,
    or at t = 0 the data's negative log-likelihood (arXiv 2006.11239, equation 5)."""
    divergence = normal_kl(posterior(x, x_t, level), p)
    surprise = -discrete_log_likelihood(x, p)
    first = (t == 0).view(-1, *[1] * (x.dim() - 1))
    return mean_of_frames(torch.where(first, surprise, divergence), *counted) / BITS
