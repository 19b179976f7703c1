"""DPM-Solver++ of order 2 in several steps as its description reads: the functions of the noise schedule are evaluated
in every step, on tensors.

What `dpm-solver` is measured against. Source: arXiv 2211.01095; a schedule of whole steps interpolated as in the code
published with arXiv 2206.00927.

Letters: B clips, C latent channels, T H W latent frames/rows/columns.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from vidgen_diffusion.betas import named_betas

NUM_TIMESTEPS = 1000


class Schedule:
    """Linear betas, continuous in t from 1 / 1000 (data) to 1 (noise)."""

    def __init__(self) -> None:
        self.log_alphas = (0.5 * (1 - named_betas("linear", NUM_TIMESTEPS)).log().cumsum(0)).float()
        self.nodes = torch.linspace(1 / NUM_TIMESTEPS, 1, NUM_TIMESTEPS)

    def log_alpha(self, t: Tensor) -> Tensor:
        """Linear between the nodes, and beyond them as beside them."""
        after = torch.searchsorted(self.nodes, t).clamp(1, NUM_TIMESTEPS - 1)
        t0, t1 = self.nodes.take(after - 1), self.nodes.take(after)
        low, high = self.log_alphas.take(after - 1), self.log_alphas.take(after)
        return low + (t - t0) / (t1 - t0) * (high - low)

    def alpha(self, t: Tensor) -> Tensor:
        """Share of data in x_t."""
        return torch.exp(self.log_alpha(t))

    def sigma(self, t: Tensor) -> Tensor:
        """Share of noise in x_t."""
        return torch.sqrt(1 - torch.exp(2 * self.log_alpha(t)))

    def half_log_snr(self, t: Tensor) -> Tensor:
        """lambda of the papers."""
        log_alpha = self.log_alpha(t)
        return log_alpha - 0.5 * torch.log(1 - torch.exp(2 * log_alpha))


class PlainDPMSolver:
    """Data prediction from a model of the noise, times evenly spaced."""

    def __init__(self) -> None:
        self.schedule = Schedule()

    @torch.no_grad()
    def sample(
        self, model: Callable[..., Tensor], z: Tensor, *, y: Tensor, null_y: Tensor, scale: float, steps: int
    ) -> Tensor:
        """z: noise (B, C, T, H, W); model: (2 B, C, ...) -> (2 B, 2 C, ...), of which the first half is the noise."""
        times = torch.linspace(1, 1 / NUM_TIMESTEPS, steps + 1)
        y = torch.cat([null_y, y])

        def data(x: Tensor, t: Tensor) -> Tensor:
            t_model = ((t - 1 / NUM_TIMESTEPS) * NUM_TIMESTEPS).expand(2 * len(x))
            eps = model(torch.cat([x, x]), t_model, y=y).chunk(2, dim=1)[0]
            unconditional, conditional = eps.chunk(2)
            eps = unconditional + scale * (conditional - unconditional)
            return (x - self.schedule.sigma(t) * eps) / self.schedule.alpha(t)

        before, newest = z, data(z, times[0])
        x = self.first_update(z, newest, times[0], times[1])
        for i in range(2, steps + 1):
            before, newest = newest, data(x, times[i - 1])
            if i == steps and steps < 10:
                x = self.first_update(x, newest, times[i - 1], times[i])
            else:
                x = self.second_update(x, (before, newest), (times[i - 2], times[i - 1]), times[i])
        return x

    def first_update(self, x: Tensor, m0: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """From s to t, with the data predicted at s."""
        h = self.schedule.half_log_snr(t) - self.schedule.half_log_snr(s)
        ratio = self.schedule.sigma(t) / self.schedule.sigma(s)
        return ratio * x - self.schedule.alpha(t) * torch.expm1(-h) * m0

    def second_update(self, x: Tensor, data: tuple[Tensor, Tensor], times: tuple[Tensor, Tensor], t: Tensor) -> Tensor:
        """From times[1] to t, with the data predicted at both times."""
        schedule = self.schedule
        (m1, m0), (s1, s0) = data, times
        lambda1, lambda0, lambda_t = schedule.half_log_snr(s1), schedule.half_log_snr(s0), schedule.half_log_snr(t)
        h_before, h = lambda0 - lambda1, lambda_t - lambda0
        d1 = (m0 - m1) / (h_before / h)
        alpha_t, phi = schedule.alpha(t), torch.expm1(-h)
        ratio = schedule.sigma(t) / schedule.sigma(s0)
        return ratio * x - alpha_t * phi * m0 - 0.5 * alpha_t * phi * d1
