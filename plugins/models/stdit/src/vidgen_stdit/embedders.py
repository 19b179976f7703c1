"""Numbers and captions to vectors.

Letters: B clips, N caption tokens, D width.
"""

import math

import torch
from torch import Tensor, nn

from vidgen_stdit.layers import Mlp

FREQUENCIES = 128


def number_features(numbers: Tensor) -> Tensor:
    """numbers: (B,). Returns cosines, then sines, of 128 frequencies from 1 down to about 1/10000: (B, 256) float32."""
    steps = torch.arange(FREQUENCIES, dtype=torch.float32, device=numbers.device)
    angles = numbers.float()[:, None] * torch.exp(-math.log(10000.0) / FREQUENCIES * steps)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class NumberEmbedder(nn.Module):
    """A vector for a number such as the diffusion time or the frame rate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, numbers: Tensor) -> Tensor:
        """(B,) -> (B, D). The numbers' dtype is the weights'; in bf16 a timestep of 999 is 1000, as in Open-Sora."""
        return self.mlp(number_features(numbers).to(numbers.dtype))


class CaptionEmbedder(nn.Module):
    """Caption features to the width of the model.

    `y_embedding` is the null caption, in the space of the features; a buffer, drawn once and never trained.
    """

    y_embedding: Tensor

    def __init__(self, *, channels: int, width: int, length: int) -> None:
        super().__init__()
        self.register_buffer("y_embedding", torch.empty(length, channels))
        self.y_proj = Mlp(channels, width, width)

    def forward(self, y: Tensor, drop: Tensor | None = None) -> Tensor:
        """y: (B, ..., N, caption channels). drop: (B,) bool, true where the null caption is to stand instead.
        Returns (B, ..., N, D)."""
        if drop is not None:
            y = torch.where(drop.view(-1, *[1] * (y.ndim - 1)), self.null_caption(y.shape[-2]).to(y.dtype), y)
        return self.y_proj(y)

    def null_caption(self, tokens: int) -> Tensor:
        """The first `tokens` tokens of the null caption, (N, caption channels)."""
        return self.y_embedding[:tokens]
