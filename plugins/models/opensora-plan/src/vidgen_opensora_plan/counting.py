"""Which of a sequence's keys count, and what is attended to where none does.

The original never rules anything out: it adds -10000 to the scores of what does not count and -9980 to those of zeros
that fill up. Beside a key that counts both come to nothing, and kernels are told which keys count. Where none does,
keys compete with scores that keep three digits after the point of 10000: there the sums are made as they were.

Letters: B sequences, K heads, E head width, M keys.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from vidgen.attention import Backend, KeyMask

HIDDEN, FILLING, COUNTING = 0, 1, 2
"""Ranks of keys: tokens that do not count, zeros that fill up, tokens that count."""
ADDED = (-10000.0, -9980.0, 0.0)
"""What is added to scores, by rank."""


class Blank(NamedTuple):
    """Sequences in which nothing counts. rows: (R,) int64, which. added: (R, 1, 1, M) float32, to their scores."""

    rows: Tensor
    added: Tensor


def blank(ranks: Tensor) -> Blank | None:
    """ranks: (B, M). None: something counts in every sequence, or the ranks lie on a device, since looking would stop
    it; the best of what does not count then counts alike, which differs by those digits."""
    if ranks.device.type != "cpu":
        return None
    rows = (ranks < COUNTING).all(1).nonzero()[:, 0]
    return Blank(rows, torch.tensor(ADDED)[ranks[rows]][:, None, None]) if len(rows) else None


def best(ranks: Tensor) -> Tensor:
    """(B, M) bool, true where a rank is the highest of its row: what counts, or what comes first where nothing does."""
    return ranks == ranks.amax(1, keepdim=True)


def attend(backend: Backend, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None, blank: Blank | None) -> Tensor:
    """q: (B, K, N, E); k, v: (B, K, M, E). keys: of `best`. Returns (B, K, N, E)."""
    out = backend(q, k, v, keys)
    if blank is None:
        return out
    rows, added = blank.rows.to(q.device), blank.added.to(q)
    return out.index_copy(0, rows, scaled_dot_product_attention(q[rows], k[rows], v[rows], attn_mask=added))
