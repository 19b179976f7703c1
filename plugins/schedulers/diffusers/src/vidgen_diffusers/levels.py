"""How much data and noise there is whenever a scheduler asks for a prediction: by its timesteps, or by its sigmas.

Letters: E predictions, in order; more than steps, where a step takes several. Everything float64 on the CPU.
"""

from typing import Any

import torch
from attrs import frozen
from torch import Tensor

ROUNDING = 1e-6


@frozen(kw_only=True)
class Levels:
    """The scheduler's state is signal x + noise n; the model is shown `scale` times that. All (E,).

    share: how far from data (0) to pure noise (1) the process has come, as guidance and masks count.
    """

    signal: Tensor
    noise: Tensor
    scale: Tensor
    share: Tensor

    def __len__(self) -> int:
        return len(self.signal)

    @property
    def alpha(self) -> list[float]:
        """Data in what the model is shown."""
        return (self.scale * self.signal).tolist()

    @property
    def sigma(self) -> list[float]:
        """Noise in what the model is shown."""
        return (self.scale * self.noise).tolist()

    @property
    def fall(self) -> bool:
        """Whether there never is more noise than before, and always a number."""
        angle = torch.atan2(self.noise, self.signal)
        return len(self) > 0 and bool((angle > -ROUNDING).all() and (angle[1:] <= angle[:-1] + ROUNDING).all())


def listed(numbers: Any, count: int) -> Tensor:
    """The first of a scheduler's numbers."""
    return torch.as_tensor(numbers)[:count].double().cpu()


def by_variance(alphas_cumprod: Tensor, share: Tensor) -> Levels:
    """The state has the variance of the data throughout; alphas_cumprod is the share that data have in it."""
    return Levels(
        signal=alphas_cumprod.sqrt(), noise=(1 - alphas_cumprod).sqrt(), scale=torch.ones_like(share), share=share
    )


def by_ratio(sigmas: Tensor, share: Tensor) -> Levels:
    """The same; sigmas are noise per data."""
    root = (sigmas.square() + 1).sqrt()
    return Levels(signal=1 / root, noise=sigmas / root, scale=torch.ones_like(share), share=share)


def by_sigma(sigmas: Tensor, share: Tensor, spread: float = 1.0) -> Levels:
    """The state is data plus sigma noise; the model is shown it divided by its spread. spread: of data alone."""
    scale = 1 / (sigmas.square() + spread**2).sqrt()
    return Levels(signal=torch.ones_like(sigmas), noise=sigmas, scale=scale, share=share)


def by_flow(sigmas: Tensor) -> Levels:
    """The state is on the straight line from data (sigma 0) to noise (1)."""
    return Levels(signal=1 - sigmas, noise=sigmas, scale=torch.ones_like(sigmas), share=sigmas)
