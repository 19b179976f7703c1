"""The noise schedule as the solver sees it: a table of whole steps made continuous, and the times at which it stops.

Time t runs from 1 / N (least noise) to 1 (most), N being the levels of the table that are kept. The noisy latents are
x_t = alpha x + sigma noise with alpha^2 + sigma^2 = 1. Everything is float64 on the CPU.
Source: arXiv 2206.00927, discrete times, and the code published with it.
"""

import torch
from attrs import frozen
from torch import Tensor

NOISIEST = -5.1  # log(alpha / sigma) below which levels are dropped: predicted data would be mostly rounding there


@frozen
class Level:
    """A time t, the timestep it is to the model, its alpha and sigma, and log(alpha / sigma): lambda in the papers."""

    t: float
    timestep: float
    alpha: float
    sigma: float
    half_log_snr: float


class NoiseSchedule:
    """log alpha is linear between the times (i + 1) / N of the table, and beyond them as beside them.

    betas: the variance added in each whole step, float64 in (0, 1]. num_timesteps: how many. num_levels: N; fewer than
        two leave nothing to interpolate.
    """

    def __init__(self, betas: Tensor) -> None:
        self.num_timesteps = len(betas)
        log_alphas = 0.5 * torch.log1p(-betas).cumsum(0)
        self._log_alphas = log_alphas[_half_log_snr(log_alphas) >= NOISIEST]
        self.num_levels = len(self._log_alphas)
        self._times = torch.arange(1, self.num_levels + 1, dtype=betas.dtype, device=betas.device) / self.num_levels

    @property
    def end(self) -> float:
        """The last time of sampling, 1 / N; the first is 1."""
        return 1 / self.num_levels

    def log_alpha(self, t: Tensor) -> Tensor:
        """Of any times, (S,) -> (S,)."""
        return _interpolated(t, self._times, self._log_alphas)

    def half_log_snr(self, t: Tensor) -> Tensor:
        """log(alpha / sigma), (S,) -> (S,)."""
        return _half_log_snr(self.log_alpha(t))

    def time(self, half_log_snr: Tensor) -> Tensor:
        """The inverse of `half_log_snr`, (S,) -> (S,)."""
        log_alpha = -0.5 * torch.logaddexp(-2 * half_log_snr, torch.zeros_like(half_log_snr))
        return _interpolated(log_alpha, self._log_alphas.flip(0), self._times.flip(0))

    def levels(self, t: Tensor) -> list[Level]:
        """At times (S,). Timesteps are real numbers from 0 at the end to almost `num_timesteps` at the start."""
        timestep = ((t - self.end) * self.num_timesteps).clamp(min=0)  # rounding may leave the end below 0
        log_alpha = self.log_alpha(t)
        alpha, sigma = log_alpha.exp(), torch.sqrt(-torch.expm1(2 * log_alpha))
        columns = (column.tolist() for column in (t, timestep, alpha, sigma, _half_log_snr(log_alpha)))
        return [Level(*row) for row in zip(*columns, strict=True)]

    def grid(self, skip_type: str, intervals: int) -> Tensor:
        """Times from 1 down to 1 / N, (intervals + 1,): evenly spaced themselves, or their roots (`time_quadratic`), or
        their log(alpha / sigma) (`logSNR`)."""
        ends = torch.tensor([1, self.end], dtype=torch.float64, device="cpu")
        if skip_type == "logSNR":
            return self.time(_evenly(self.half_log_snr(ends), intervals))
        return _evenly(ends.sqrt(), intervals).square() if skip_type == "time_quadratic" else _evenly(ends, intervals)


def _evenly(ends: Tensor, intervals: int) -> Tensor:
    first, last = ends.tolist()
    return torch.linspace(first, last, intervals + 1, dtype=torch.float64, device="cpu")


def _half_log_snr(log_alpha: Tensor) -> Tensor:
    return log_alpha - 0.5 * torch.log(-torch.expm1(2 * log_alpha))


def _interpolated(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Through the points of x (rising) and y, along the outermost pieces beyond them."""
    after = torch.searchsorted(x, at).clamp(1, len(x) - 1)
    share = (at - x[after - 1]) / (x[after] - x[after - 1])
    return torch.lerp(y[after - 1], y[after], share)
