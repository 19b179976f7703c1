"""Given and edited frames in this process: kept ones are noised to its lowest level, edited ones join at their share.

Letters: B samples, T latent frames, S steps of the process, which are taken from S - 1 down to 0.
"""

import torch
from torch import Tensor
from vidgen.rng import Draws
from vidgen_diffusion import checks
from vidgen_diffusion.frames import over_latents


class JoiningFrames:
    """Frame masks of every step, known before the first: nothing waits for the device in between.

    A frame of mask m joins at step trunc(m S): it is noised to that level and stepped, but the model is still told that
    it is clean; from the next step on it counts as noised. Before, it stays as it is. So a kept frame (0) joins at the
    last step and comes back with an error of the lowest level of noise. Frames of mask 1 hold noise from the start.
    """

    def __init__(self, mask: Tensor, z: Tensor, num_steps: int, draws: Draws | None) -> None:
        """mask: (B, T) in [0, 1]. Raises: UserError."""
        mask = mask.to(z.device)
        checks.sampling_mask(mask, z)
        joins_at = (mask.float() * num_steps).long()  # in float32, in which 0.29 of 100 may be 28
        step = torch.arange(num_steps, device=z.device)[:, None, None]
        self.x_mask = joins_at > step  # (S, B, T)
        self._joining, self._waiting = over_latents(joins_at == step), over_latents(joins_at < step)
        self._joins = (joins_at == step).flatten(1).any(dim=1).tolist()
        self._draws = checks.drawn(draws, len(z), "given frames (mask below 1)") if any(self._joins) else None

    def join(self, i: int, x: Tensor, alpha: float, sigma: float) -> Tensor:
        """x with the frames that join at step i noised to its level."""
        if not self._joins[i]:
            return x
        assert self._draws is not None
        noise = self._draws.normal("given", x.shape[1:], device=x.device, step=i).to(x.dtype)
        return torch.where(self._joining[i], alpha * x + sigma * noise, x)

    def wait(self, i: int, moved: Tensor, x: Tensor) -> Tensor:
        """What was moved in step i, with frames that have not joined as they were."""
        return torch.where(self._waiting[i], x, moved)
