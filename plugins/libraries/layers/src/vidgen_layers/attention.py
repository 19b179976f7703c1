"""Self attention and cross attention over `vidgen.attention`.

Letters: B sequences, N tokens, M tokens of all sequences, L caption tokens, K heads, E head width, D = K E.
"""

from collections.abc import Iterable

from torch import Tensor, nn
from vidgen.attention import AttentionLayer, Backend, KeyMask, Segments

from vidgen_layers.layers import RMSNorm
from vidgen_layers.linear import Linear
from vidgen_layers.positions import Rotation, rotate


class SelfAttention(AttentionLayer):
    """Multi-head attention within each sequence."""

    def __init__(self, width: int, heads: int, *, qk_norm: bool = False, norm_after_rotation: bool = False) -> None:
        """qk_norm: root-mean-square normalisation of queries and keys per head (arXiv 2302.05442, section 2), before
        the rotation or, `norm_after_rotation`, after it."""
        super().__init__()
        self.heads, self.norm_after_rotation = heads, norm_after_rotation
        self.qkv = Linear(width, 3 * width)
        self.q_norm = RMSNorm(width // heads, eps=1e-6) if qk_norm else None
        self.k_norm = RMSNorm(width // heads, eps=1e-6) if qk_norm else None
        self.proj = Linear(width, width)

    def forward(self, h: Tensor, rotation: Rotation | None = None, backend: Backend | None = None) -> Tensor:
        """h: (B, N, D). rotation: of N positions. backend: in place of the layer's own. Returns (B, N, D)."""
        q, k, v = self.qkv(h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self._turned(q, self.q_norm, rotation), self._turned(k, self.k_norm, rotation)
        return self.proj((backend or self.backend)(q, k, v).transpose(1, 2).flatten(2))

    def packed(
        self, h: Tensor, segments: Segments, rotation: Rotation | None = None, backend: Backend | None = None
    ) -> Tensor:
        """As `forward`, for sequences one behind the other. h: (M, D). rotation: of the M tokens. Returns (M, D)."""
        q, k, v = self.qkv(h).unflatten(1, (3, self.heads, -1)).unbind(1)
        of_heads = None if rotation is None else Rotation(rotation.cos[:, None], rotation.sin[:, None])
        q, k = self._turned(q, self.q_norm, of_heads), self._turned(k, self.k_norm, of_heads)
        attend = self.attend_packed if backend is None else backend.packed
        return self.proj(attend(q, k, v, segments).flatten(1))

    def _turned(self, q: Tensor, norm: RMSNorm | None, rotation: Rotation | None) -> Tensor:
        """Queries or keys, (..., E), normalised and rotated."""
        if norm is not None and not self.norm_after_rotation:
            q = norm(q)
        if rotation is not None:
            q = rotate(q, rotation)
        return norm(q) if norm is not None and self.norm_after_rotation else q


class CrossAttention(AttentionLayer):
    """Tokens look at the caption of their clip."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.q_linear = Linear(width, width)
        self.kv_linear = Linear(width, 2 * width)
        self.proj = Linear(width, width)

    def forward(self, h: Tensor, text: Tensor, keys: KeyMask | None) -> Tensor:
        """h: (B, N, D). text: (B, L, D), or (B, L, 2 D) of `keys_values`. keys: the caption tokens that count, None:
        all. Returns (B, N, D)."""
        q = self.q_linear(h).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = self.keys_values(text).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(self.backend(q, k, v, keys).transpose(1, 2).flatten(2))

    def packed(self, h: Tensor, text: Tensor, segments: Segments) -> Tensor:
        """As `forward`, for clips one behind the other. h: (M, D). Returns (M, D)."""
        q = self.q_linear(h).unflatten(1, (self.heads, -1))
        k, v = self.keys_values(text).flatten(0, 1).unflatten(1, (2, self.heads, -1)).unbind(1)
        return self.proj(self.attend_packed(q, k, v, segments).flatten(1))

    def keys_values(self, text: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, 2 D), which depend on the caption alone; those that are worked out already stay."""
        return text if text.shape[2] == 2 * self.width else self.kv_linear(text)


def cross_attentions(blocks: Iterable[nn.Module]) -> list[CrossAttention]:
    """The layers by which blocks look at captions, in order."""
    return [layer for block in blocks for layer in block.modules() if isinstance(layer, CrossAttention)]
