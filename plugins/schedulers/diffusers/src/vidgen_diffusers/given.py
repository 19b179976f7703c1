"""Frames that are given, for samplers whose inside is the library's: kept on their true path from outside.

Letters: B samples, T latent frames, E predictions.
"""

import torch
from torch import Tensor
from vidgen.rng import Draws
from vidgen_diffusion.frames import GivenFrames, over_latents

from vidgen_diffusers.families import Target
from vidgen_diffusers.levels import Levels


class GivenPath:
    """Until a frame joins, its state at every prediction is what its data and its noise are there, and its prediction
    is the true one: solvers that look back find the right past, and whatever else the library does to it is undone."""

    def __init__(self, mask: Tensor, z: Tensor, levels: Levels, target: Target, draws: Draws | None) -> None:
        """mask: (B, T) in [0, 1]. z: with the given frames in their place. target: see `Family`. Raises: UserError."""
        self.frames = GivenFrames(mask, z, levels.share, 1, draws)
        active = self.frames.active
        self._active = over_latents(active)
        self._moved = over_latents(torch.cat([(mask == 1)[None].to(active), active[:-1]]))  # by the step before
        self._noise = self.frames.start(0.0, 1.0)
        self._state = list(zip(levels.signal.tolist(), levels.noise.tolist(), strict=True))
        self._shown = list(zip(levels.alpha, levels.sigma, strict=True))
        self._target = target

    def enter(self, i: int, x: Tensor) -> Tensor:
        """The state, before prediction i."""
        signal, noise = self._state[i]
        return torch.where(self._moved[i], x, signal * self.frames.clean + noise * self._noise)

    def predicted(self, i: int, output: Tensor) -> Tensor:
        """Prediction i."""
        return torch.where(self._active[i], output, self._target(self.frames.clean, self._noise, *self._shown[i]))
