"""Frames that are given: shown to the model clean, kept out of losses, and come back as they are; or edited, which is
to join the others when the noise has come down to their share of it.

Letters: B samples, T latent frames, S steps.
"""

import torch
from torch import Tensor
from vidgen.rng import Draws

from vidgen_diffusion import checks


def over_latents(frames: Tensor) -> Tensor:
    """(..., B, T) -> (..., B, 1, T, 1, 1), to broadcast over latents."""
    return frames[..., :, None, :, None, None]


def mean_of_frames(error: Tensor, mask: Tensor | None, valid: Tensor | None = None) -> Tensor:
    """(B, C, T, H, W) -> (B,): the mean over all, or over what lies in true frames of mask (B, T) and where valid
    (B, T, H, W) is not 0. NaN where there is none."""
    if valid is not None:
        return _mean_of_latents(error, mask, valid)
    error = error.mean(dim=(1, 3, 4))
    if mask is None:
        return error.mean(dim=1)
    return torch.where(mask, error, 0.0).sum(dim=1) / mask.sum(dim=1)


def _mean_of_latents(error: Tensor, mask: Tensor | None, valid: Tensor) -> Tensor:
    counted = valid.bool() if mask is None else valid.bool() & mask[:, :, None, None]
    sums = torch.where(counted[:, None], error, 0.0).sum(dim=(1, 2, 3, 4))
    return sums / (counted.sum(dim=(1, 2, 3)) * error.shape[1])


def active_frames(grid: Tensor, mask: Tensor, num_timesteps: int) -> Tensor:
    """Which frames take part in each step: (S, B) times and (B, T) mask in [0, 1] -> (S, B, T) bool.

    A frame joins when the time has come down to its share of the whole. Compared in float32, in which 0.9 of 1000 is
    900. Frames to be generated from nothing (1) always take part, also where rounding puts t above the whole; kept ones
    (0) never, also at time 0.
    """
    mask = mask.float()
    return ((mask * num_timesteps >= grid[:, :, None]) & (mask > 0)) | (mask == 1)


class GivenFrames:
    """For samplers that ask for the data behind every prediction: of a frame that is given, it is known.

    So a frame that joins late was all along where its own noise would have left it, and solvers that look back find
    the right past. Everything is known before the first step: nothing waits for the device in between.
    """

    def __init__(self, mask: Tensor, z: Tensor, times: Tensor, num_timesteps: int, draws: Draws | None) -> None:
        """mask: (B, T) in [0, 1]: 1 generate, 0 keep, between edit. z: with the given frames in their place. times:
        (S,) of the steps, 0 to num_timesteps. draws: for the noise of edited frames. Raises: UserError."""
        mask = mask.to(z.device)
        checks.sampling_mask(mask, z)
        grid = times.to(device=z.device, dtype=torch.float32)[:, None].expand(-1, len(z))
        self.clean = z
        self.active = active_frames(grid, mask, num_timesteps)
        self._over = over_latents(self.active)
        self._kept, self._generated = over_latents(mask == 0), over_latents(mask == 1)
        edited = bool(((mask > 0) & (mask < 1)).any())
        self._draws = checks.drawn(draws, len(z), "edited frames (mask between 0 and 1)") if edited else None

    def start(self, alpha: float, sigma: float) -> Tensor:
        """Where sampling begins, of z's shape: noise as it is, edited frames as alpha z + sigma noise."""
        if self._draws is None:
            return self.clean
        noise = self._draws.normal("edited", self.clean.shape[1:], device=self.clean.device).to(self.clean.dtype)
        return torch.where(self._generated, self.clean, alpha * self.clean + sigma * noise)

    def shown(self, i: int, x: Tensor) -> Tensor:
        """What the model sees in step i: given frames clean."""
        return torch.where(self._over[i], x, self.clean)

    def data(self, i: int, predicted: Tensor) -> Tensor:
        """The data predicted in step i: of given frames, what they are."""
        return torch.where(self._over[i], predicted, self.clean)

    def finish(self, x: Tensor) -> Tensor:
        """The result, with kept frames as they were, bit for bit."""
        return torch.where(self._kept, self.clean, x)
