"""FlashAttention: when its kernels are used, and what they are given. The kernels are stood in for by the formula, in
their own layout; on a GPU with flash-attn the last test runs the real ones."""

import importlib.util
import logging

import pytest
import torch
from torch import Tensor
from vidgen import UserError
from vidgen.attention import Explicit, Sdpa, key_mask, segments
from vidgen.interfaces import Context
from vidgen_flash_attn import FlashAttnOptions
from vidgen_flash_attn.backend import FlashAttention, build

GPU = torch.cuda.is_available() and importlib.util.find_spec("flash_attn") is not None


class Formula:
    """flash_attn's two functions, written out sequence by sequence."""

    def flash_attn_func(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return Explicit()(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)

    def flash_attn_varlen_func(
        self, q: Tensor, k: Tensor, v: Tensor, q_ends: Tensor, k_ends: Tensor, longest_q: int, longest_k: int
    ) -> Tensor:
        assert q_ends.dtype == k_ends.dtype == torch.int32
        assert q_ends.diff().max() <= longest_q and k_ends.diff().max() <= longest_k
        out = torch.full_like(q, float("nan"))
        for b in range(len(q_ends) - 1):
            own_q, own_k = slice(q_ends[b], q_ends[b + 1]), slice(k_ends[b], k_ends[b + 1])
            out[own_q] = self.flash_attn_func(q[None, own_q], k[None, own_k], v[None, own_k])[0]
        return out


class Eager(FlashAttention):
    """Takes everything, so that the layout is tried on the CPU."""

    def _takes(self, q: Tensor) -> bool:
        return True


def parts() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 3, 5, 4), torch.randn(2, 3, 7, 4), torch.randn(2, 3, 7, 4)


def test_whole_sequences_are_handed_over_in_the_kernels_layout() -> None:
    q, k, v = parts()
    torch.testing.assert_close(Eager(Formula())(q, k, v), Explicit()(q, k, v))


def test_masked_keys_are_packed_and_the_result_is_that_of_the_mask() -> None:
    q, k, v = parts()
    keys = key_mask(torch.tensor([[1, 0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 0, 1, 0]]), 2)
    torch.testing.assert_close(Eager(Formula())(q, k, v, keys), Explicit()(q, k, v, keys))


def rows() -> tuple[Tensor, Tensor, Tensor]:
    """Two sequences of 5 queries and 7 keys, one behind the other."""
    q, k, v = (part.transpose(1, 2).flatten(0, 1) for part in parts())
    return q, k, v


def test_packed_sequences_are_handed_over() -> None:
    several = segments([(1, 2, 3), (2, 4, 1), (1, 1, 9)], torch.device("cpu"))
    q, k, v = (torch.cat([part, part])[:n] for part, n in zip(rows(), (11, 14, 14), strict=True))
    torch.testing.assert_close(Eager(Formula()).packed(q, k, v, several), Explicit().packed(q, k, v, several))


def test_of_packed_sequences_too_masked_keys_are_left_out() -> None:
    mask = torch.tensor([[1, 0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 0, 1, 0]])
    several = segments([(1, 4, 7), (1, 6, 7)], torch.device("cpu"), mask)
    q, k, v = rows()
    torch.testing.assert_close(Eager(Formula()).packed(q, k, v, several), Explicit().packed(q, k, v, several))


def test_what_the_kernels_cannot_take_goes_to_torch() -> None:
    class Refusing(Formula):
        def flash_attn_func(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            raise AssertionError("asked on the CPU")

    q, k, v = parts()
    torch.testing.assert_close(FlashAttention(Refusing())(q, k, v), Explicit()(q, k, v))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_torchs_own_is_taken_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "vidgen"):
        assert isinstance(build(FlashAttnOptions(), Context(dtype="bf16")), Sdpa)
    assert "attention: torch's own kernels, since there is no NVIDIA GPU here" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_where_it_is_required_and_cannot_be_it_is_refused() -> None:
    with pytest.raises(UserError, match="flash-attn is required, but there is no NVIDIA GPU here"):
        build(FlashAttnOptions(required=True), Context(dtype="bf16"))


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="needs a GPU and flash-attn")
def test_the_real_kernels_give_what_the_formula_gives() -> None:
    q, k, v = (part.cuda().bfloat16() for part in parts())
    q, k, v = (part.repeat(1, 1, 1, 8) for part in (q, k, v))
    keys = key_mask(torch.tensor([[1, 0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 0, 1, 0]], device="cuda"), 2)
    backend = build(FlashAttnOptions(required=True), Context(dtype="bf16"))
    for one in (None, keys):
        torch.testing.assert_close(backend(q, k, v, one), Explicit()(q, k, v, one), rtol=2e-2, atol=2e-2)
