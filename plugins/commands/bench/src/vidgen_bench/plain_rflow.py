"""Sampling by rectified flow as its description reads: times one after the other, both halves of the guidance, a step.

What `rflow` is measured against. Source: arXiv 2209.03003 and the Open-Sora 1.2 report.

Letters: B clips, C latent channels, T H W latent frames/rows/columns.
"""

from collections.abc import Callable

import torch
from torch import Tensor

NUM_TIMESTEPS = 1000


@torch.no_grad()
def sample(model: Callable[..., Tensor], z: Tensor, *, y: Tensor, null_y: Tensor, scale: float, steps: int) -> Tensor:
    """z: noise (B, C, T, H, W); model: (2 B, C, ...) -> (2 B, 2 C, ...), of which the first half is the velocity."""
    times = [torch.full((len(z),), (1 - i / steps) * NUM_TIMESTEPS) for i in range(steps)]
    y = torch.cat([y, null_y])
    for i, t in enumerate(times):
        velocity = model(torch.cat([z, z]), torch.cat([t, t]), y=y).chunk(2, dim=1)[0]
        conditional, unconditional = velocity.chunk(2)
        velocity = unconditional + scale * (conditional - unconditional)
        dt = (t - times[i + 1] if i + 1 < steps else t) / NUM_TIMESTEPS
        z = z + velocity * dt[:, None, None, None, None]
    return z
