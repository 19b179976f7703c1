"""Attention: one function over backends.

A layer that attends derives from `AttentionLayer` and calls `self.backend`; `use_backend` puts another backend into a
whole model, from outside. torch's SDPA is the default; `explicit` is written out, to read and to test against; further
ones are components of kind `attention`.

Letters: B sequences, K heads, E head width, Nq queries, Nk keys. Scores are scaled by 1 / sqrt(E).
"""

from collections.abc import Sequence
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


class Segments(NamedTuple):
    """Sequences of several lengths that lie one behind the other, in the two forms that kernels want; made once per
    forward by `segments`.

    runs: on the host: (sequences, queries of each, keys of each), for sequences alike that follow each other.
    q_offsets, k_offsets: (B + 1,) int32 on the device: sequence b has the queries q_offsets[b] : q_offsets[b + 1], and
        likewise keys.
    mask: which keys count, of all sequences, which have equally many then; None: all count. run_masks: the same for
        each run; empty without a mask.
    """

    runs: tuple[tuple[int, int, int], ...]
    q_offsets: Tensor
    k_offsets: Tensor
    mask: KeyMask | None = None
    run_masks: tuple[KeyMask, ...] = ()


def segments(lengths: Sequence[tuple[int, int, int]], device: torch.device, mask: Tensor | None = None) -> Segments:
    """lengths: (sequences, queries of each, keys of each), in order, each 1 or more. mask: (B, Nk), not 0 where a key
    counts, where all sequences have Nk keys. Nothing is read back from the device."""
    runs: list[tuple[int, int, int]] = []
    for count, queries, keys in lengths:
        if runs and runs[-1][1:] == (queries, keys):
            count += runs.pop()[0]
        runs.append((count, queries, keys))
    counts = [count for count, _, _ in runs]
    q_ends, k_ends = (_offsets(counts, [run[place] for run in runs], device) for place in (1, 2))
    if mask is None:
        return Segments(tuple(runs), q_ends, k_ends)
    run_masks = tuple(key_mask(part, len(part)) for part in mask.split(counts))
    return Segments(tuple(runs), q_ends, k_ends, key_mask(mask, len(mask)), run_masks)


class Backend(Protocol):
    """How attention is worked out. Results of all backends agree within rounding."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None = None) -> Tensor:
        """q: (B, K, Nq, E); k, v: (B, K, Nk, E). keys: which keys count; None: all. Returns (B, K, Nq, E)."""
        ...

    def packed(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """Several sequences one behind the other, each attending to its own keys alone.

        q: (M, K, E) and k, v: (L, K, E), all sequences' queries and keys, all of which lie in `segments`. Returns
        (M, K, E).
        """
        ...


class PackedByRuns:
    """Gives a backend its `packed`: one call for each run of sequences alike, without padding or a mask over all."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None = None) -> Tensor:
        """See `Backend`."""
        raise NotImplementedError

    def packed(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """See `Backend`."""
        of_queries = [count * queries for count, queries, _ in segments.runs]
        of_keys = [count * keys for count, _, keys in segments.runs]
        masks = segments.run_masks or (None,) * len(segments.runs)
        parts = zip(segments.runs, q.split(of_queries), k.split(of_keys), v.split(of_keys), masks, strict=True)
        made = []
        for (count, _, _), *rows, keys in parts:
            q, k, v = (part.unflatten(0, (count, -1)).transpose(1, 2) for part in rows)  # (sequences, K, N, E)
            made.append(self(q, k, v, keys).transpose(1, 2).flatten(0, 1))
        return torch.cat(made)


class Sdpa(PackedByRuns):
    """torch's scaled_dot_product_attention, which chooses a fused kernel for the device."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None = None) -> Tensor:
        """See `Backend`."""
        return scaled_dot_product_attention(q, k, v, attn_mask=None if keys is None else keys.valid)


class Explicit(PackedByRuns):
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

    @torch.compiler.disable  # compiled code would be made anew for every batch: its runs are numbers on the host
    def attend_packed(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """See `Backend.packed`."""
        return self.backend.packed(q, k, v, segments)


def use_backend(module: nn.Module, backend: Backend) -> None:
    """Let every attention layer of `module` use `backend`."""
    for layer in module.modules():
        if isinstance(layer, AttentionLayer):
            layer.backend = backend


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; from the CPU it is brought to a GPU without waiting for what that is doing."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def build_sdpa(options: object, context: Context) -> Sdpa:
    """Factory of the component `sdpa`."""
    return Sdpa()


def build_explicit(options: object, context: Context) -> Explicit:
    """Factory of the component `explicit`."""
    return Explicit()


def _offsets(counts: list[int], lengths: list[int], device: torch.device) -> Tensor:
    """Where sequences begin, and where the last one ends: counts[i] of lengths[i] each, (B + 1,) int32."""
    each = torch.repeat_interleave(torch.tensor(lengths, device="cpu"), torch.tensor(counts, device="cpu"))
    return to_device(nn.functional.pad(each.cumsum(0), (1, 0)).int(), device)
