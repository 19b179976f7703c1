"""The straight path between data and noise and the clock along it: pure functions on tensors.

Letters: B samples, T latent frames, S steps. Times run from 0 (data) to `num_timesteps` (pure noise).
"""

import torch
from torch import Tensor


def add_noise(x: Tensor, noise: Tensor, t: Tensor, num_timesteps: int) -> Tensor:
    """The point of the path at time t: (1 - u) x + u noise, u = t / num_timesteps.

    x, noise: (B, C, T, H, W). t: (B,) in [0, num_timesteps].
    Source: arXiv 2209.03003, section 2 (time runs the other way there).
    """
    u = (t / num_timesteps).to(x.dtype).view(-1, *[1] * (x.dim() - 1))
    return (1 - u) * x + u * noise


def shift_timesteps(
    t: Tensor, height: Tensor, width: Tensor, num_frames: Tensor, *, num_timesteps: float = 1000, scale: float = 1.0
) -> Tensor:
    """Move t towards noise the more, the larger and longer the clip: u' = R u / (1 + (R - 1) u), u = t / num_timesteps.

    R = scale * sqrt(height * width / 512^2) * sqrt(latent frames). t: (..., B), any real or integer dtype. height,
    width: (B,) pixels; num_frames: (B,) video frames; evaluated in float32. Returns float32 of t's shape.

    Latent frames are floor(frames / 17) * 5, and 1 for a batch of images, which it is when its first sample has one
    frame. So fewer than 17 frames of video give t' = 0, and NaN at pure noise.
    Source: arXiv 2403.03206, section 5.3.2, extended to clips' lengths by Open-Sora 1.2.
    """
    height, width, num_frames = height.float(), width.float(), num_frames.float()
    latent_frames = torch.where(num_frames[0] == 1, torch.ones_like(num_frames), (num_frames / 17).floor() * 5)
    ratio = (height * width / (512 * 512)).sqrt() * latent_frames.sqrt() * scale
    u = t / num_timesteps
    return ratio * u / (1 + (ratio - 1) * u) * num_timesteps


def time_grid(steps: int, batch: int, num_timesteps: int, *, discrete: bool) -> Tensor:
    """Evenly spaced times from pure noise downwards, without the final 0: (S, B) on the CPU, float32, or int64 when
    discrete."""
    times = [(1 - i / steps) * num_timesteps for i in range(steps)]
    if discrete:
        grid = torch.tensor([round(time) for time in times], dtype=torch.int64)
    else:
        grid = torch.tensor(times, dtype=torch.float32)
    return grid[:, None].expand(steps, batch)


def step_sizes(grid: Tensor, num_timesteps: int) -> Tensor:
    """Lengths of the intervals that `grid` (S, B) opens, the last one ending at 0, as shares of the whole: (S, B)."""
    return (grid - torch.cat([grid[1:], torch.zeros_like(grid[:1])])) / num_timesteps


def joining_frames(active: Tensor, mask: Tensor) -> Tensor:
    """Frames whose first active step it is and that hold clean latents, to be noised then: (S, B, T) bool."""
    before = torch.cat([(mask == 1)[None], active[:-1]])
    return active & ~before
