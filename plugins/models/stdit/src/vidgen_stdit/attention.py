"""Self attention and cross attention over `vidgen.attention`.

Letters: B sequences, N tokens, L caption tokens, K heads, E head width, D = K E.
"""

from einops import rearrange
from torch import Tensor, nn
from vidgen.attention import attention


class SelfAttention(nn.Module):
    """Multi-head attention within each sequence."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        q, k, v = rearrange(self.qkv(h), "b n (three k e) -> three b k n e", three=3, k=self.heads)
        return self.proj(rearrange(attention(q, k, v), "b k n e -> b n (k e)"))


class CrossAttention(nn.Module):
    """Tokens look at the caption of their clip."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_linear = nn.Linear(width, width)
        self.kv_linear = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, h: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
        """h: (B, N, D); y: (B, L, D); mask: (B, 1, 1, L) bool, true where a caption token counts. Returns (B, N, D)."""
        q = rearrange(self.q_linear(h), "b n (k e) -> b k n e", k=self.heads)
        k, v = rearrange(self.kv_linear(y), "b l (two k e) -> two b k l e", two=2, k=self.heads)
        return self.proj(rearrange(attention(q, k, v, mask), "b k n e -> b n (k e)"))
