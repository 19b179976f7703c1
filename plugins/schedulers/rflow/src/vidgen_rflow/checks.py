"""What may be handed to the process; every mistake is a `UserError` that says what would be accepted."""

from collections.abc import Mapping
from math import isfinite

import torch
from torch import Tensor
from vidgen.errors import UserError
from vidgen.rng import Draws

SIZES = ("height", "width", "num_frames")


def steps(count: int) -> None:
    """Refuse fewer than one sampling step."""
    if count < 1:
        raise UserError(f"rflow cannot sample in {count} steps: give num_sampling_steps of 1 or more.")


def guidance(scale: float) -> None:
    """Refuse a guidance scale that is not a finite number."""
    if not isfinite(scale):
        raise UserError(f"a guidance scale of {scale} is not a number to work with: give a finite one, such as 4 or 7.")


def same_shape(name: str, given: Tensor, x: Tensor) -> None:
    """Refuse noise of another shape than the latents."""
    if given.shape != x.shape:
        raise UserError(f"{name} has shape {tuple(given.shape)}, but the latents have {tuple(x.shape)}: give the same.")


def times(t: Tensor, batch: int, num_timesteps: int) -> None:
    """Refuse times of another shape than (B,) or outside 0..num_timesteps."""
    if t.shape != (batch,):
        raise UserError(f"t has shape {tuple(t.shape)}, but the batch needs ({batch},): one time per sample.")
    if not bool(((t >= 0) & (t <= num_timesteps)).all()):
        raise UserError(f"t must lie in 0..{num_timesteps} (data to pure noise), given {t.tolist()}.")


def training_mask(mask: Tensor, x: Tensor) -> None:
    """Refuse anything but (B, T) booleans."""
    _mask_shape(mask, x)
    if mask.dtype != torch.bool:
        raise UserError(f"the training mask holds {mask.dtype}, but needs booleans: true where a frame is noised.")


def sampling_mask(mask: Tensor, z: Tensor) -> None:
    """Refuse anything but (B, T) numbers in [0, 1]."""
    _mask_shape(mask, z)
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise UserError(f"the frame mask must lie in 0..1 (0 keep, 1 generate, between edit), given {mask.tolist()}.")


def weight_table(weights: Tensor, t: Tensor, num_timesteps: int) -> None:
    """Refuse a table that whole numbers of t cannot index."""
    if weights.dim() != 1 or len(weights) < num_timesteps:
        raise UserError(f"weights has shape {tuple(weights.shape)}, but needs ({num_timesteps},): one per t.")
    if t.is_floating_point():
        raise UserError(f"weights are looked up by whole numbers of t, but t is {t.dtype}: set use_discrete_timesteps.")


def drawn(draws: Draws | None, batch: int, purpose: str) -> Draws:
    """The draws, refused when missing or made for another number of samples."""
    if draws is None:
        raise UserError(f"rflow needs random numbers for {purpose}: pass draws=vidgen.rng.Draws(seed, samples).")
    if len(draws) != batch:
        raise UserError(f"draws are for {len(draws)} samples, but the batch has {batch}: give one address per sample.")
    return draws


def clip_sizes(
    conditioning: Mapping[str, Tensor], sizes: Mapping[str, Tensor] | None, batch: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Height, width and frames of each clip for the timestep transform: each (B,), in float32."""
    known = {**(sizes or {}), **conditioning}
    missing = [name for name in SIZES if name not in known]
    if missing:
        raise UserError(
            f"use_timestep_transform needs the clips' {', '.join(missing)}: pass them in conditioning, when the model "
            "takes them, or in sizes, each (B,) in pixels and video frames; or set use_timestep_transform: false."
        )
    for name in SIZES:
        if known[name].shape != (batch,):
            raise UserError(f"{name} has shape {tuple(known[name].shape)}, but the batch needs ({batch},).")
    height, width, num_frames = (known[name].to(device=device, dtype=torch.float32) for name in SIZES)
    return height, width, num_frames


def shifted_grid(grid: Tensor, num_frames: Tensor) -> None:
    """Refuse a grid without values: what clips of 2 to 16 frames get."""
    if not bool(grid.isfinite().all()):
        raise UserError(short_clip(num_frames.tolist()))


def short_clip(num_frames: object) -> str:
    """Why the timestep transform has nothing to say about such clips, and what to do."""
    return (
        f"use_timestep_transform counts video in pieces of 17 frames and has no answer for num_frames {num_frames}: "
        "use 17 frames or more, or still images (1 frame) alone, or set use_timestep_transform: false."
    )


def _mask_shape(mask: Tensor, x: Tensor) -> None:
    batch, frames = x.shape[0], x.shape[2]
    if mask.shape != (batch, frames):
        raise UserError(
            f"the mask has shape {tuple(mask.shape)}, but the latents need ({batch}, {frames}): one number per sample "
            "and latent frame."
        )
