"""Which kernels a call gets, and captions of different lengths without padding.

Letters: B sequences, K heads, E head width, Nq queries, Nk keys, M and L all sequences' queries and keys.
"""

import importlib.util
import logging
from typing import Protocol

import torch
from torch import Tensor
from vidgen import UserError
from vidgen.attention import KeyMask, Sdpa, Segments
from vidgen.interfaces import Context

from vidgen_flash_attn import FlashAttnOptions

LOG = logging.getLogger("vidgen")
HALF = (torch.float16, torch.bfloat16)
OLDEST_GPU = (8, 0)  # Ampere: what FlashAttention 2 supports
WIDEST_HEAD = 256


class Kernels(Protocol):
    """The part of the package flash_attn that is used here."""

    def flash_attn_func(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, N, K, E) each."""
        ...

    def flash_attn_varlen_func(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
    ) -> Tensor:
        """(M, K, E), (L, K, E), (L, K, E), offsets (B + 1,) int32."""
        ...


class FlashAttention:
    """See `vidgen.attention.Backend`. What the kernels cannot take (float32, the CPU, wide heads) goes to torch's own,
    call by call, with the same result."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels, self._others = kernels, Sdpa()

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None = None) -> Tensor:
        """q: (B, K, Nq, E); k, v: (B, K, Nk, E). keys: which keys count; None: all. Returns (B, K, Nq, E)."""
        if not self._takes(q):
            return self._others(q, k, v, keys)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        if keys is None:
            return self._kernels.flash_attn_func(q, k, v).transpose(1, 2)
        offsets = torch.arange(len(q) + 1, device=q.device, dtype=torch.int32) * q.shape[1]
        # Keys that count move to the front of a buffer as large as all of them: the number of them stays on the device.
        k, v = (part.flatten(0, 1)[keys.order] for part in (k, v))
        out = self._varlen(q.flatten(0, 1), k, v, offsets, keys.offsets, q.shape[1], len(k) // len(q))
        return out.unflatten(0, (len(q), -1)).transpose(1, 2)

    def packed(self, q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
        """q: (M, K, E); k, v: (L, K, E); see `Backend.packed`. Returns (M, K, E)."""
        if not self._takes(q):
            return self._others.packed(q, k, v, segments)
        k_offsets, mask = segments.k_offsets, segments.mask
        if mask is not None:
            k, v, k_offsets = k[mask.order], v[mask.order], mask.offsets
        longest_q, longest_k = (max(run[place] for run in segments.runs) for place in (1, 2))
        return self._varlen(q, k, v, segments.q_offsets, k_offsets, longest_q, longest_k)

    def _varlen(
        self, q: Tensor, k: Tensor, v: Tensor, q_offsets: Tensor, k_offsets: Tensor, longest_q: int, longest_k: int
    ) -> Tensor:
        return self._kernels.flash_attn_varlen_func(q, k, v, q_offsets, k_offsets, longest_q, longest_k)

    def _takes(self, q: Tensor) -> bool:
        return q.is_cuda and q.dtype in HALF and q.shape[-1] <= WIDEST_HEAD


def build(options: FlashAttnOptions, context: Context) -> FlashAttention | Sdpa:
    """The backend: FlashAttention's kernels where this machine has them, torch's own elsewhere; the log says which.

    Raises: UserError, when they are `required` and cannot be used.
    """
    lacking = _lacking(context.dtype)
    if lacking is None:
        kernels = importlib.import_module("flash_attn")
        LOG.info("attention: flash-attn %s", getattr(kernels, "__version__", "of unknown version"))
        return FlashAttention(kernels)  # type: ignore[arg-type]  # a module stands in for the protocol
    if options.required:
        raise UserError(f"attention: flash-attn is required, but {lacking}. Leave `required` out to use torch's own.")
    LOG.warning("attention: torch's own kernels, since %s", lacking)
    return Sdpa()


def _lacking(dtype: str) -> str | None:
    """What keeps the kernels from being used, in words; None: nothing."""
    if not torch.cuda.is_available():
        return "there is no NVIDIA GPU here"
    if torch.cuda.get_device_capability() < OLDEST_GPU:
        return f"{torch.cuda.get_device_name()} is older than Ampere"
    if dtype == "fp32":
        return "they need dtype: bf16 or fp16"
    if importlib.util.find_spec("flash_attn") is None:
        return "flash-attn is not installed (pip install 'vidgen-flash-attn[cuda]' builds it; needs the CUDA toolkit)"
    return None
