"""Attention: one function over backends.

torch's scaled_dot_product_attention is the default; other backends are components of kind `attention`.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(E)) v.

    q: (B, K, Nq, E); k, v: (B, K, Nk, E), K heads of width E. mask: bool, broadcastable to (B, K, Nq, Nk), true where
    a query may look; at least one key per query. Returns (B, K, Nq, E).
    """
    return scaled_dot_product_attention(q, k, v, attn_mask=mask)


def explicit_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """The same, written out: for tests, and to read."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(v.dtype) @ v
