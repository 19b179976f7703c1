"""Numbers and captions to vectors.

Letters: B clips, N caption tokens, D width.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from vidgen import UserError

from vidgen_layers import captions, checks
from vidgen_layers.captions import Text
from vidgen_layers.layers import Mlp

FREQUENCIES = 128


def number_features(numbers: Tensor) -> Tensor:
    """numbers: (B,). Returns cosines, then sines, of 128 frequencies from 1 down to about 1/10000: (B, 256) float32."""
    steps = torch.arange(FREQUENCIES, dtype=torch.float32, device=numbers.device)
    # Times of up to 1000 make a last digit matter: it is rounded right, which exp in float32 is not everywhere.
    frequencies = (-math.log(10000.0) / FREQUENCIES * steps).double().exp().float()
    angles = numbers.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class NumberEmbedder(nn.Module):
    """A vector for a number such as the diffusion time or the frame rate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, numbers: Tensor) -> Tensor:
        """(B,) -> (B, D), of the weights' type. The numbers are taken as exact as they come."""
        return self.mlp(number_features(numbers).to(next(self.parameters()).dtype))


class LabelEmbedder(nn.Module):
    """A vector for a class. `embedding_table` has a last row more for the null class when there is one."""

    def __init__(self, classes: int, width: int, *, null_class: bool) -> None:
        super().__init__()
        self.classes, self.null_class = classes, null_class
        self.embedding_table = nn.Embedding(classes + null_class, width)

    def forward(self, labels: Tensor, drop: Tensor | None = None) -> Tensor:
        """labels: (B,) integers, 0 to classes - 1, or `classes` for the null class. drop: (B,) bool, true where the
        null class is to stand instead. Returns (B, D)."""
        return self.embedding_table(labels if drop is None else labels.masked_fill(drop, self.classes))


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

    def text(
        self,
        y: Tensor | None,
        mask: Tensor | None,
        drop: Tensor | None,
        text: Tensor | None,
        *,
        clips: int,
        dropout: float,
    ) -> Text:
        """Captions ready for the blocks, from features `y` (B, N, C) or (B, 1, N, C), or projected before (`text`,
        (B, N, D), or (B, G, N, 2 D) of `captions.for_blocks`). Padding that no caption needs is cut off. drop: (B,)
        bool; without it, in training mode, each caption is dropped with probability `dropout`.

        Raises: UserError, when shapes do not fit.
        """
        mask = captions.flat_mask(mask)
        if text is not None:
            width, whole = self.y_proj.fc2.out_features, text.ndim == 3
            checks.check_caption(text if whole else text[:, 0], mask, clips=clips, width=width if whole else 2 * width)
            return captions.text(*captions.trimmed(text, mask), clips)
        if y is None:
            raise UserError("the model got no caption: give y, or text from encode_text")
        y = captions.flat_captions(y)
        checks.check_caption(y, mask, clips=clips, width=self.y_embedding.shape[1])
        drop = captions.dropped(drop, clips, dropout if self.training else 0, y.device)
        if drop is not None:
            checks.check_null_caption(y.shape[1], len(self.y_embedding))
        y, mask = captions.trimmed(y, mask)
        return captions.text(self(y.to(self.y_proj.fc1.weight.dtype), drop), mask, clips)

    def encode_text(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The conditioning with `y` projected, under `text` (B, N, D); for sampling, where no caption is dropped."""
        y = captions.flat_captions(conditioning["y"])
        others = {key: value for key, value in conditioning.items() if key not in ("y", "drop_caption")}
        return {**others, "text": self(y.to(self.y_proj.fc1.weight.dtype), conditioning.get("drop_caption"))}

    def null_conditioning(self, conditioning: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The conditioning with the null caption in place of `y`, everything else as it is.

        Raises: UserError, when the captions are longer than the null caption.
        """
        y = conditioning["y"]
        checks.check_null_caption(y.shape[-2], len(self.y_embedding))
        return {**conditioning, "y": self.null_caption(y.shape[-2]).to(y).expand_as(y)}
