"""Attention: one function over backends.

A layer that attends derives from `AttentionLayer` and calls `self.backend`; `use_backend` puts another backend into a
whole model, from outside. torch's SDPA is the default; `explicit` is written out, to read and to test against; further
ones are components of kind `attention`.

Letters: B sequences, K heads, E head width, Nq queries, Nk keys. Scores are scaled by 1 / sqrt(E).
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vidgen.interfaces import Context


class KeyMask(NamedTuple):
    """Which keys of each sequence count, in the two forms that kernels want; made once per forward by `key_mask`.

    valid: (B, 1, 1, Nk) bool, at least one true per sequence.
    order: (B * Nk,) int64, positions in the flattened (B, Nk) keys: those that count first, sequence by sequence.
    offsets: (B + 1,) int32, sequence b's keys are order[offsets[b] : offsets[b + 1]].
    """

    valid: Tensor
    order: Tensor
    offsets: Tensor


def key_mask(mask: Tensor, batch: int) -> KeyMask:
    """A `KeyMask` for `batch` sequences.

    mask: (B', Nk), not 0 where a key counts; B' divides `batch` and the whole list is repeated (sequence i has row
    i % B'). Holes are allowed. Nothing is read back from the device.
    """
    valid = mask.bool().repeat(batch // len(mask), 1)
    order = torch.argsort((~valid).flatten(), stable=True)
    offsets = nn.functional.pad(valid.sum(1).cumsum(0), (1, 0)).int()
    return KeyMask(valid[:, None, None], order, offsets)


class Backend(Protocol):
    """How attention is worked out. Results of all backends agree within rounding."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None = None) -> Tensor:
        """q: (B, K, Nq, E); k, v: (B, K, Nk, E). keys: which keys count; None: all. Returns (B, K, Nq, E)."""
        ...

    def packed(self, q: Tensor, k: Tensor, v: Tensor, q_offsets: Tensor, k_offsets: Tensor) -> Tensor:
        """Several sequences of different lengths one behind the other, each attending to its own keys alone.

        q: (M, K, E) and k, v: (L, K, E), all sequences' queries and keys; sequence b has q[q_offsets[b] :
        q_offsets[b + 1]] and likewise keys; offsets: (B + 1,) integers from 0. Rows behind the last offset are
        padding: their results are finite and mean nothing. Returns (M, K, E).
        """
        ...


class PackedByMask:
    """Gives a backend that takes masks its `packed`: a block-diagonal mask, so work and memory grow with M * L."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None = None) -> Tensor:
        """See `Backend`; `keys.valid` may be (B, 1, Nq, Nk) here."""
        raise NotImplementedError

    def packed(self, q: Tensor, k: Tensor, v: Tensor, q_offsets: Tensor, k_offsets: Tensor) -> Tensor:
        """See `Backend`."""
        of_query, of_key = (_sequence_of(part, ends) for part, ends in ((q, q_offsets), (k, k_offsets)))
        last = len(k_offsets) - 2
        own = of_query.clamp(max=last)[:, None] == of_key  # padding asks in the name of the last sequence
        keys = KeyMask(own[None, None], of_key, k_offsets)
        q, k, v = (part.transpose(0, 1)[None] for part in (q, k, v))
        return self(q, k, v, keys)[0].transpose(0, 1)


class Sdpa(PackedByMask):
    """torch's scaled_dot_product_attention, which chooses a fused kernel for the device."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None = None) -> Tensor:
        """See `Backend`."""
        return scaled_dot_product_attention(q, k, v, attn_mask=None if keys is None else keys.valid)


class Explicit(PackedByMask):
    """The formula, written out: softmax(q k^T / sqrt(E)) v, probabilities in float32."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None = None) -> Tensor:
        """See `Backend`."""
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if keys is not None:
            scores = scores.masked_fill(~keys.valid, float("-inf"))
        return torch.softmax(scores, dim=-1, dtype=torch.float32).to(v.dtype) @ v


class AttentionLayer(nn.Module):
    """A layer that attends, through `backend`."""

    backend: Backend = Sdpa()


def use_backend(module: nn.Module, backend: Backend) -> None:
    """Let every attention layer of `module` use `backend`."""
    for layer in module.modules():
        if isinstance(layer, AttentionLayer):
            layer.backend = backend


def build_sdpa(options: object, context: Context) -> Sdpa:
    """Factory of the component `sdpa`."""
    return Sdpa()


def build_explicit(options: object, context: Context) -> Explicit:
    """Factory of the component `explicit`."""
    return Explicit()


def _sequence_of(rows: Tensor, offsets: Tensor) -> Tensor:
    """Which sequence each row belongs to; rows behind the last offset get the number of sequences."""
    places = torch.arange(len(rows), device=rows.device)
    return torch.searchsorted(offsets[1:].long(), places, right=True)
