"""Batches of clips of different sizes: every clip lies at the origin of its row of the latents, padding behind it.

Letters: B samples, C channels, T H W latent frames/rows/columns.
"""

import torch
from torch import Tensor
from vidgen.rng import Draws

Size3 = tuple[int, int, int]


def clip_sizes(valid: Tensor) -> list[Size3]:
    """valid: (B, T, H, W), not 0 where a latent is no padding. (T, H, W) of each clip: of the smallest box at the
    origin that holds all of it. Read on the host: a tensor on another device is waited for."""
    filled = valid.bool().cpu()
    spans = [_spans(filled.any(dim=others)) for others in ((2, 3), (1, 3), (1, 2))]
    return list(zip(*spans, strict=True))


def noise_for(draws: Draws, x: Tensor, valid: Tensor | None) -> Tensor:
    """Standard normal noise (purpose `noise`) of x's shape, (B, C, T, H, W), float32. valid: see `clip_sizes`; None: no
    padding. A clip that is padded gets the noise that it gets alone, with zeros behind it."""
    whole = tuple(x.shape[2:])
    sizes = [whole] * len(x) if valid is None else clip_sizes(valid)
    if all(size == whole for size in sizes):
        return draws.normal("noise", x.shape[1:], device=x.device)
    noise = torch.zeros(x.shape, pin_memory=x.device.type == "cuda")
    for number, (row, (frames, rows, columns)) in enumerate(zip(noise, sizes, strict=True)):
        own = draws[number].normal("noise", (len(row), frames, rows, columns))
        row[:, :frames, :rows, :columns] = own[0]
    return noise.to(x.device, non_blocking=True)


def _spans(used: Tensor) -> list[int]:
    """used: (B, N) bool. One more than the last true place of each row; 0 where there is none."""
    places = torch.arange(1, used.shape[1] + 1)
    return (used * places).amax(dim=1).tolist()
