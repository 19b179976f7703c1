"""From noise to data, step by step; nothing is worked out or read back in between.

Letters: B samples, C channels, T H W latent frames/rows/columns, S steps.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from vidgen.guidance.denoiser import Denoiser
from vidgen.rng import Draws
from vidgen_diffusion import checks
from vidgen_diffusion.step_noise import StepNoise

from vidgen_iddpm.frames import JoiningFrames
from vidgen_iddpm.gaussian import GaussianDiffusion
from vidgen_iddpm.steps import Step


class Descent:
    """All that the steps of one sampling need. steps: by number, S - 1 (noise) to 0 (data)."""

    def __init__(
        self,
        denoiser: Denoiser,
        process: GaussianDiffusion,
        steps: Sequence[Step],
        z: Tensor,
        draws: Draws | None,
        frames: JoiningFrames | None,
    ) -> None:
        """z: (B, C, T, H, W), whose dtype the model gets. Raises: UserError, when random steps lack draws."""
        self._denoiser, self._steps, self._frames, self._dtype = denoiser, steps, frames, z.dtype
        self._times = times_of(process, z)
        self._levels = list(
            zip(process.alphas_cumprod.sqrt().tolist(), (1 - process.alphas_cumprod).sqrt().tolist(), strict=True)
        )
        random = [i for i in reversed(range(len(steps))) if steps[i].is_random]
        self._noise = None
        if random:
            what = "the noise of every step (sampling_method: ddim needs none)"
            state = z.to(torch.promote_types(z.dtype, torch.float32))
            self._noise = StepNoise(checks.drawn(draws, len(z), what), state, random)

    def step(self, i: int, x: Tensor) -> Tensor:
        """x at step i to x one step further. x: (B, C, T, H, W), float32 or float64."""
        frames, before = self._frames, x
        if frames is not None:
            x = frames.join(i, x, *self._levels[i])
        x_mask = None if frames is None else frames.x_mask[i]
        out = self._denoiser(x.to(self._dtype), self._times[i], x_mask=x_mask, step=i)
        noise = self._noise(i) if self._noise is not None and self._steps[i].is_random else None
        moved = self._steps[i].take(x, out, noise)
        return moved if frames is None else frames.wait(i, moved, before)


def times_of(process: GaussianDiffusion, x: Tensor) -> Sequence[Tensor]:
    """What the model is told in each step, (B,) int64, by number of the step."""
    return torch.tensor(process.timesteps, device=x.device)[:, None].expand(-1, len(x)).unbind()
