"""Ancestral sampling with a learned range of the variance as its description reads: a table for each coefficient,
looked up in every step for the whole batch, which holds both halves of the guidance.

What `iddpm` is measured against. Sources: arXiv 2006.11239 (the process), arXiv 2102.09672 (the variance, fewer steps);
looked up as in the code published with them.

Letters: B clips, C latent channels, T H W latent frames/rows/columns.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from vidgen_diffusion.betas import named_betas

NUM_TIMESTEPS = 1000


def extract(table: Tensor, t: Tensor, shape: Sequence[int], *, filled: bool) -> Tensor:
    """Entries of a table at t (B,), of such a shape. filled: every element of it is written, as DiT and Open-Sora do;
    else there is one number for each clip, as in the code published with the papers."""
    entries = table.to(t.device)[t].float()
    while entries.dim() < len(shape):
        entries = entries[..., None]
    return entries + torch.zeros(tuple(shape), device=t.device) if filled else entries.expand(shape)


class PlainIDDPM:
    """The process with linear betas, of which so many steps are kept; the model predicts noise and a variance."""

    def __init__(self, steps: int, *, filled: bool = False) -> None:
        """filled: see `extract`."""
        self.extract = partial(extract, filled=filled)
        product = (1 - named_betas("linear", NUM_TIMESTEPS)).cumprod(0)
        kept = [round(i * (NUM_TIMESTEPS - 1) / (steps - 1)) for i in range(steps)]
        self.timestep_map = torch.tensor(kept)
        product = product[self.timestep_map]
        before = torch.cat([torch.ones(1, dtype=torch.float64), product[:-1]])
        betas = 1 - product / before
        variance = betas * (1 - before) / (1 - product)
        self.log_betas = betas.log()
        self.sqrt_recip = (1 / product).sqrt()
        self.sqrt_recip_less_one = (1 / product - 1).sqrt()
        self.posterior_log_variance = torch.cat([variance[1:2], variance[1:]]).log()
        self.posterior_mean_coef1 = betas * before.sqrt() / (1 - product)
        self.posterior_mean_coef2 = (1 - before) * (1 - betas).sqrt() / (1 - product)

    @torch.no_grad()
    def sample(
        self,
        model: Callable[..., Tensor],
        z: Tensor,
        *,
        y: Tensor,
        null_y: Tensor,
        scale: float,
        noise: Callable[[Tensor], Tensor] = torch.randn_like,
    ) -> Tensor:
        """z: noise (B, C, T, H, W); model: (2 B, C, ...) -> (2 B, 2 C, ...). noise: like what it is given."""
        x, y = torch.cat([z, z]), torch.cat([y, null_y])
        for i in reversed(range(len(self.timestep_map))):
            t = torch.full((len(x),), i)
            out = self.guided(model, x, self.timestep_map[t], y, scale)
            mean, log_variance = self.p_mean_variance(out, x, t)
            later = (t != 0).float().view(-1, 1, 1, 1, 1)
            x = mean + later * torch.exp(0.5 * log_variance) * noise(x)
        return x.chunk(2)[0]

    def guided(self, model: Callable[..., Tensor], x: Tensor, t: Tensor, y: Tensor, scale: float) -> Tensor:
        """(2 B, 2 C, T, H, W), the noise of both halves the guided one."""
        half = x[: len(x) // 2]
        out = model(torch.cat([half, half]), t, y=y)
        eps, rest = out.split(x.shape[1], dim=1)
        conditional, unconditional = eps.chunk(2)
        eps = unconditional + scale * (conditional - unconditional)
        return torch.cat([torch.cat([eps, eps]), rest], dim=1)

    def p_mean_variance(self, out: Tensor, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of x one step on, of x's shape each."""
        eps, v = out.split(x.shape[1], dim=1)
        share = (v + 1) / 2
        low = self.extract(self.posterior_log_variance, t, x.shape)
        high = self.extract(self.log_betas, t, x.shape)
        log_variance = share * high + (1 - share) * low
        start = self.extract(self.sqrt_recip, t, x.shape) * x - self.extract(self.sqrt_recip_less_one, t, x.shape) * eps
        return self.q_posterior_mean(start, x, t), log_variance

    def q_posterior_mean(self, start: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Of x one step on, where the data are known."""
        first, second = self.posterior_mean_coef1, self.posterior_mean_coef2
        return self.extract(first, t, x.shape) * start + self.extract(second, t, x.shape) * x
