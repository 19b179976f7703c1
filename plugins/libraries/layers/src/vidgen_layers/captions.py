"""Captions on their way into a model: how they are handed over, masked and cut.

Letters: B clips, N caption tokens, D width.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from vidgen.attention import KeyMask, key_mask

from vidgen_layers import checks
from vidgen_layers.attention import cross_attentions


class Text(NamedTuple):
    """Projected captions as blocks read them. tokens: (B, N, D), or (B, G, N, 2 D): the keys and values of each of G
    blocks, worked out before. keys: which count; None: all."""

    tokens: Tensor
    keys: KeyMask | None

    def of_block(self, number: int) -> "Text":
        """As one block reads them."""
        return self if self.tokens.ndim == 3 else Text(self.tokens[:, number], self.keys)


def flat_captions(y: Tensor) -> Tensor:
    """(B, N, C), from that or from the (B, 1, N, C) of Open-Sora."""
    return y.squeeze(1) if y.ndim == 4 else y


def flat_mask(mask: Tensor | None) -> Tensor | None:
    """(B', N), from that or from the (B', 1, 1, N) of PixArt."""
    return mask.flatten(1) if mask is not None and mask.ndim == 4 else mask


def dropped(drop: Tensor | None, clips: int, rate: float, device: torch.device) -> Tensor | None:
    """`drop`, (B,) bool, as given; else each entry true with probability `rate`, or None where that is 0.

    Raises: UserError, when its shape does not fit.
    """
    if drop is not None:
        checks.check_shape(drop, (clips,), name="drop_caption")
        return drop
    return torch.rand(clips, device=device) < rate if rate > 0 else None


def trimmed(y: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """y: (B, ..., N, C) and mask: (B', N) without the tokens at the end that count in no caption; the model's result is
    the same. Only where the mask lies on the CPU: elsewhere looking would stop the device."""
    if mask is None or mask.device.type != "cpu":
        return y, mask
    used = int(mask.bool().any(0).numpy().nonzero()[0].max(initial=0)) + 1
    return y[..., :used, :], mask[:, :used]


def for_blocks(encoded: Mapping[str, Tensor], blocks: Iterable[nn.Module]) -> dict[str, Tensor]:
    """The conditioning with what each of G blocks makes of `text`, (B, N, D), in its place: keys and values, (B, G, N,
    2 D)."""
    kept = [layer.keys_values(encoded["text"]) for layer in cross_attentions(blocks)]
    return {**encoded, "text": torch.stack(kept, dim=1)}


def text(tokens: Tensor, mask: Tensor | None, clips: int) -> Text:
    """tokens: see `Text`. mask: (B', N), not 0 where a token counts, B' divides B."""
    return Text(tokens, None if mask is None else key_mask(mask, clips))


def mean_caption(y: Tensor, mask: Tensor | None) -> Tensor:
    """y: (B, N, C); mask: (B', N), B' divides B. The mean over the tokens that count, (B, C): one token is itself."""
    if mask is None or y.shape[1] == 1:
        return y.mean(1)
    weights = mask.repeat(len(y) // len(mask), 1).to(y)[..., None]
    return (y * weights).sum(1) / weights.sum(1)


def unpacked(tokens: Tensor, lengths: list[int] | Tensor) -> tuple[Tensor, Tensor]:
    """Captions that lie one behind the other, side by side.

    tokens: (1, M, D) or (M, D). lengths: of each caption, together M. Returns (B, N, D) and the mask (B, N) bool;
    N is the longest, or M where the lengths lie on a device, since looking would stop it.
    """
    rows = tokens.flatten(0, -2)
    counts = torch.as_tensor(lengths, device=tokens.device)
    longest = int(counts.max()) if counts.device.type == "cpu" or isinstance(lengths, list) else len(rows)
    places = torch.arange(longest, device=tokens.device)
    starts = counts.cumsum(0) - counts
    picked = (starts[:, None] + places).clamp(max=len(rows) - 1)
    return rows[picked], places < counts[:, None]
