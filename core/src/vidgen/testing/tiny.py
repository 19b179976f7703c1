"""Small inputs for tests: every size another one, so that a swapped axis fails."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidgen.engine import media
from vidgen.engine.batch import size_numbers
from vidgen.interfaces import Context, Model, Size3
from vidgen.rng import Draws


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
        batch_size=3,
    )


def tiny_model_inputs(
    model: Model, context: Context | None = None, rows: Sequence[int] = (0, 1, 2)
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """x (B, C, T, H, W), timestep (B,) in 0..1000 and, of the conditioning, what the model names; a row depends on its
    number alone. Captions have 1 token and more; that of row 1 is dropped; row 2 has all frames but one given. All have
    one size: `valid` is left out."""
    context = context or tiny_context()
    assert context.latent_size and context.latent_stride and context.text_width and context.text_length
    draws, numbers = draws_of(rows), torch.tensor(rows)
    frames, tokens = torch.arange(context.latent_size[0]), torch.arange(context.text_length)
    to_make = draws.uniform("video_mask", (context.latent_stride[0], context.latent_size[0], 1, 1)) < 0.5
    known = {
        "y": draws.normal("y", (context.text_length, context.text_width)),
        "mask": (tokens <= 2 * numbers[:, None]).long(),
        "x_mask": (frames == 0) | (numbers[:, None] != 2),
        "masked_video": draws.normal("masked_video", (model.latent_channels, *context.latent_size)),
        "video_mask": to_make.float().expand(-1, -1, -1, *context.latent_size[1:]),
        "drop_caption": numbers == 1,
        **tiny_sizes(context, len(rows)),
    }
    x = draws.normal("x", (model.latent_channels, *context.latent_size))
    return x, 11 + 400.0 * numbers, {key: known[key] for key in model.conditioning - {"valid"}}


def draws_of(rows: Sequence[int]) -> Draws:
    """Random numbers at the addresses of such rows."""
    return Draws(1, [(row,) for row in rows])


def tiny_sizes(context: Context, batch: int) -> dict[str, Tensor]:
    """`height`, `width`, `num_frames`, `fps`, `ar`, (B,) each, of the context's clips."""
    return size_numbers([(context.num_frames or 2, *(context.image_size or (16, 24)))] * batch, 8.0)


def tiny_clips(context: Context) -> list[Size3]:
    """Latent (T, H, W) of three clips: one of the context's size, two smaller, the last of one frame."""
    assert context.latent_size
    frames, rows, columns = context.latent_size
    return [context.latent_size, (frames, max(rows - 1, 1), max(columns - 2, 1)), (1, rows, max(columns - 1, 1))]


def boxes(clips: Sequence[Size3], whole: Size3) -> Tensor:
    """What is no padding when clips of latent (T, H, W) lie in a batch as large as `whole`: (B, *whole) bool."""
    valid = torch.zeros(len(clips), *whole, dtype=torch.bool)
    for row, size in zip(valid, clips, strict=True):
        row[tuple(map(slice, size))] = True
    return valid


def write_clip(path: Path, frames: Any, fps: float = 8.0) -> Path:
    """Write (3, T, H, W) uint8 RGB as mp4, or as PNG when T is 1; returns the path, with that suffix."""
    return media.write(path.with_suffix(""), torch.as_tensor(frames), fps, {})
