"""SpeeD (arXiv 2405.17403): timesteps that teach much are drawn often and in pairs, and errors weighed by the noise.

Trains only otherwise; it is sampled as the process it is.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from vidgen.guidance.denoiser import Denoiser
from vidgen.interfaces import Context
from vidgen.rng import Draws

from vidgen_iddpm import IDDPMOptions
from vidgen_iddpm.scheduler import IDDPM, check

FLAT = 5e-5  # change of the noise's share per step below which steps teach nothing new
STEEP = 1e-4  # above which they are drawn five times as often
SHARPNESS = 1e6


class SpeedIDDPM(IDDPM):
    """`probabilities`: of each t, (S,) float64. `weights`: on each t's squared error, 1 / (1 + SNR), (S,) float64.
    `meaningful_steps`: where the noise's share has become flat; t is mirrored around half of it."""

    def __init__(self, options: IDDPMOptions) -> None:
        super().__init__(options)
        slope = _slope((1 - self.process.alphas_cumprod).sqrt())
        flat = [i for i, change in enumerate(slope.tolist()) if change < FLAT]
        self.meaningful_steps = 1 + (flat[0] if flat else len(self.process) - 1)
        likely = torch.tanh(SHARPNESS * (slope - STEEP)) + 1.5
        self.probabilities = likely / likely.sum()
        self.weights = 1 - self.process.alphas_cumprod

    def draw_timesteps(self, draws: Draws, device: torch.device | str = "cpu") -> Tensor:
        """Steps for training, (B,) int64 in 0..S-1: drawn by `probabilities`, every other one then mirrored.

        The published code mirrors the first half of a batch into the second; here a coin of each sample's own decides,
        so that a sample's step depends on no other sample. In the long run the steps are the same.
        """
        up_to = self.probabilities.cumsum(0).float().to(device)
        t = torch.searchsorted(up_to, draws.uniform("timestep", device=device)).clamp(max=len(self.process) - 1)
        return torch.where(draws.integers("mirror", 2, device=device) == 1, self.mirrored(t), t)

    def mirrored(self, t: Tensor) -> Tensor:
        """M - t for t below M, the number of meaningful steps; t - M from there on."""
        meaningful = self.meaningful_steps
        return torch.where(t < meaningful, meaningful - t, t - meaningful).clamp(max=len(self.process) - 1)

    def training_losses(
        self,
        model: Denoiser,
        x: Tensor,
        conditioning: Mapping[str, Tensor],
        *,
        draws: Draws | None = None,
        mask: Tensor | None = None,
        noise: Tensor | None = None,
        t: Tensor | None = None,
        valid: Tensor | None = None,
        sizes: Mapping[str, Tensor] | None = None,
        weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As `IDDPM.training_losses`, weighed by `weights` unless others are given."""
        own = self.weights if weights is None else weights
        return super().training_losses(
            model, x, conditioning, draws=draws, mask=mask, noise=noise, t=t, valid=valid, sizes=sizes, weights=own
        )


def build(options: IDDPMOptions, context: Context) -> SpeedIDDPM:
    """The scheduler. Raises: UserError; see `vidgen_iddpm.scheduler.check`."""
    check(options, context)
    return SpeedIDDPM(options)


def _slope(values: Tensor) -> Tensor:
    """Change per step: central differences, one-sided at the ends."""
    if len(values) < 2:
        return torch.zeros_like(values)
    (slope,) = torch.gradient(values)
    return slope
