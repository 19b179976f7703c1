"""One step of a sampler as a linear combination, its numbers worked out in float64 before the first step.

Every step is x' = of_x x + of_data data + spread noise, with the data read off the model's output.
"""

from math import exp, sqrt

import torch
from attrs import frozen
from torch import Tensor
from vidgen_diffusion import checks

from vidgen_iddpm.gaussian import GaussianDiffusion


@frozen(kw_only=True)
class Step:
    """alpha_recip, noise_ratio: data = alpha_recip x - noise_ratio noise; None where the model predicts the data.

    spread: of the noise; 0 for none. log_spread: a, b of exp(a + b v), where v, the second half of the model's
    channels, says the spread; else None.
    """

    of_x: float
    of_data: float
    from_noise: tuple[float, float] | None
    spread: float = 0.0
    log_spread: tuple[float, float] | None = None
    clip: bool = False

    @property
    def is_random(self) -> bool:
        """Whether noise is needed."""
        return self.log_spread is not None or self.spread > 0

    def take(self, x: Tensor, out: Tensor, noise: Tensor | None) -> Tensor:
        """x' of x (B, C, ...). out: of the model, C channels or more. noise: of x's shape where it is needed."""
        moved = self._mean(x, out[:, : x.shape[1]])
        if noise is None:
            return moved
        if self.log_spread is None:
            return torch.add(moved, noise, alpha=self.spread)
        checks.variance(out.shape[1], x.shape[1])
        first, second = self.log_spread
        spread = (out[:, x.shape[1] :].to(x.dtype) * second).add_(first).exp_()
        return torch.addcmul(moved, spread, noise)

    def _mean(self, x: Tensor, predicted: Tensor) -> Tensor:
        if self.from_noise is None or self.clip:
            return torch.add(x * self.of_x, self._data(x, predicted), alpha=self.of_data)
        recip, ratio = self.from_noise
        return torch.add(x * (self.of_x + self.of_data * recip), predicted, alpha=-self.of_data * ratio)

    def _data(self, x: Tensor, predicted: Tensor) -> Tensor:
        data = predicted
        if self.from_noise is not None:
            recip, ratio = self.from_noise
            data = torch.add(x * recip, predicted, alpha=-ratio)
        return data.clamp(-1, 1) if self.clip else data


class Steps:
    """Of a process, one for each of its T steps; i counts like t, 0 is the last one taken."""

    def __init__(self, process: GaussianDiffusion, *, predict_xstart: bool, clip: bool) -> None:
        self.process, self.clip = process, clip
        self.product, self.before, self.after = (
            table.tolist()
            for table in (process.alphas_cumprod, process.alphas_cumprod_prev, process.alphas_cumprod_next)
        )
        self._predict_xstart = predict_xstart

    def ancestral(self, *, learned: bool) -> list[Step]:
        """Draws from p(x_{t-1} | x_t) (arXiv 2006.11239, algorithm 2); the last one takes its mean."""
        process = self.process
        fixed = process.log_fixed_variance.tolist()
        large, small = process.log_beta.tolist(), process.log_posterior_variance.tolist()
        return [
            self._step(
                i,
                of_x,
                of_data,
                spread=0.0 if learned or i == 0 else exp(fixed[i] / 2),
                log_spread=((large[i] + small[i]) / 4, (large[i] - small[i]) / 4) if learned and i > 0 else None,
            )
            for i, (of_x, of_data) in enumerate(
                zip(process.posterior_x_t.tolist(), process.posterior_data.tolist(), strict=True)
            )
        ]

    def ddim(self, eta: float) -> list[Step]:
        """DDIM (arXiv 2010.02502, equations 12 and 16)."""
        steps = []
        for i, (product, before) in enumerate(zip(self.product, self.before, strict=True)):
            spread = eta * sqrt((1 - before) / (1 - product)) * sqrt(1 - product / before)
            steps.append(self._towards(i, before, sqrt(max(1 - before - spread**2, 0)), spread if i > 0 else 0.0))
        return steps

    def inversion(self) -> list[Step]:
        """DDIM the other way, from data to noise, at eta 0."""
        return [self._towards(i, after, sqrt(1 - after), 0.0) for i, after in enumerate(self.after)]

    def _towards(self, i: int, product: float, of_noise: float, spread: float) -> Step:
        """To sqrt(product) data + of_noise noise, with the noise that goes with x and the data."""
        recip, ratio = self._from_noise(i)
        return self._step(i, of_noise * recip / ratio, sqrt(product) - of_noise / ratio, spread=spread)

    def _step(
        self, i: int, of_x: float, of_data: float, *, spread: float, log_spread: tuple[float, float] | None = None
    ) -> Step:
        return Step(
            of_x=of_x,
            of_data=of_data,
            from_noise=None if self._predict_xstart else self._from_noise(i),
            spread=spread,
            log_spread=log_spread,
            clip=self.clip,
        )

    def _from_noise(self, i: int) -> tuple[float, float]:
        return sqrt(1 / self.product[i]), sqrt(1 / self.product[i] - 1)
