"""Small inputs for tests: every size another one, so that a swapped axis fails."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidgen.engine import media
from vidgen.interfaces import Context, Model
from vidgen.rng import Draws

BATCH = 3


def tiny_context() -> Context:
    """A run of clips of 2 frames of 16x24 pixels: latents (4, 2, 4, 6), captions of 5 tokens of width 7.

    Change it with `attrs.evolve(tiny_context(), latent_size=(3, 4, 6))`.
    """
    return Context(
        latent_channels=4,
        latent_size=(2, 4, 6),
        latent_stride=(1, 4, 4),
        text_width=7,
        text_length=5,
        seed=1,
        num_frames=2,
        image_size=(16, 24),
        batch_size=BATCH,
    )


def tiny_model_inputs(model: Model, context: Context | None = None) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Three samples for a model: x (3, C, T, H, W), timestep (3,) in 0..1000, and of the conditioning what it names.

    Captions have 1, 3 and 5 tokens; the second is dropped; frames after the first are given in the third clip.
    """
    context = context or tiny_context()
    assert context.latent_size and context.text_width and context.text_length
    draws = Draws(1, [(row,) for row in range(BATCH)])
    lengths = torch.tensor([1, (context.text_length + 1) // 2, context.text_length])
    noised = torch.ones(BATCH, context.latent_size[0], dtype=torch.bool)
    noised[2, 1:] = False
    known = {
        "y": draws.normal("y", (context.text_length, context.text_width)),
        "mask": (torch.arange(context.text_length) < lengths[:, None]).long(),
        "x_mask": noised,
        "drop_caption": torch.tensor([False, True, False]),
        **tiny_sizes(context, BATCH),
    }
    x = draws.normal("x", (model.latent_channels, *context.latent_size))
    return x, torch.tensor([11.0, 403.0, 977.0]), {key: known[key] for key in model.conditioning if key in known}


def tiny_sizes(context: Context, batch: int) -> dict[str, Tensor]:
    """`height`, `width`, `num_frames`, `fps`, `ar`, (B,) each, of the context's clips."""
    height, width = context.image_size or (16, 24)
    numbers = {"height": height, "width": width, "num_frames": context.num_frames or 2, "fps": 8, "ar": height / width}
    return {name: torch.full((batch,), float(number)) for name, number in numbers.items()}


def write_clip(path: Path, frames: Any, fps: float = 8.0) -> Path:
    """Write (3, T, H, W) uint8 RGB as mp4, or as PNG when T is 1; returns the path, with that suffix."""
    return media.write(path.with_suffix(""), torch.as_tensor(frames), fps, {})
