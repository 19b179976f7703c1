"""Clip sizes that the timestep transform needs; every mistake is a `UserError` that says what would be accepted."""

from collections.abc import Mapping

import torch
from torch import Tensor
from vidgen.errors import UserError

SIZES = ("height", "width", "num_frames")


def checked_sizes(
    conditioning: Mapping[str, Tensor], sizes: Mapping[str, Tensor] | None, batch: int, device: torch.device | str
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


def check_grid(grid: Tensor, num_frames: Tensor) -> None:
    """Refuse a grid without values: what clips of 2 to 16 frames get."""
    if not bool(grid.isfinite().all()):
        raise UserError(short_clip(num_frames.tolist()))


def short_clip(num_frames: object) -> str:
    """Why the timestep transform has nothing to say about such clips, and what to do."""
    return (
        f"use_timestep_transform counts video in pieces of 17 frames and has no answer for num_frames {num_frames}: "
        "use 17 frames or more, or still images (1 frame) alone, or set use_timestep_transform: false."
    )
