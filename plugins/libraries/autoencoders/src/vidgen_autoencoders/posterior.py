"""The Gaussian that an encoder gives: independent normal numbers, each with its mean and variance."""

import math

import torch
from torch import Tensor

LOG_VARIANCE = (-30.0, 20.0)
HALF = (torch.bfloat16, torch.float16)


class Posterior:
    """A diagonal Gaussian over latents.

    moments: (B, 2C, ...), means and then log variances, which are clamped to [-30, 20]. Half precision is widened to
    float32. deterministic: no variance at all. Attributes: mean, logvar, std, var, (B, C, ...) each.
    Source: arXiv 1312.6114, appendix B.
    """

    def __init__(self, moments: Tensor, *, deterministic: bool = False) -> None:
        self.moments = moments.float() if moments.dtype in HALF else moments
        self.deterministic = deterministic
        self.mean, logvar = self.moments.chunk(2, dim=1)
        self.logvar = logvar.clamp(*LOG_VARIANCE)
        self.std = torch.zeros_like(self.mean) if deterministic else torch.exp(0.5 * self.logvar)
        self.var = torch.zeros_like(self.mean) if deterministic else torch.exp(self.logvar)

    def mode(self) -> Tensor:
        """The most likely latents, (B, C, ...): the mean."""
        return self.mean

    def sample(self, noise: Tensor) -> Tensor:
        """noise: standard normal numbers of the mean's shape. Returns mean + std * noise."""
        return self.mean + self.std * noise.to(self.mean)

    def kl(self, other: "Posterior | None" = None) -> Tensor:
        """Kullback-Leibler divergence to `other`, by default the standard normal, in nats per sample, (B,); zeros of a
        deterministic one."""
        if self.deterministic:
            return self.mean.new_zeros(len(self.mean))
        if other is None:
            return 0.5 * _total(self.mean**2 + self.var - 1 - self.logvar)
        distance = (self.mean - other.mean) ** 2 / other.var
        return 0.5 * _total(distance + self.var / other.var - 1 - self.logvar + other.logvar)

    def nll(self, sample: Tensor) -> Tensor:
        """Negative log likelihood of latents (B, C, ...), in nats per sample, (B,); zeros of a deterministic one."""
        if self.deterministic:
            return self.mean.new_zeros(len(self.mean))
        return 0.5 * _total(math.log(2 * math.pi) + self.logvar + (sample - self.mean) ** 2 / self.var)


def _total(value: Tensor) -> Tensor:
    return value.flatten(1).sum(dim=1)
