"""Attention: masks, packed sequences, and choosing a backend."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from vidgen.attention import (
    AttentionLayer,
    Backend,
    Explicit,
    KeyMask,
    Sdpa,
    Segments,
    key_mask,
    segments,
    use_backend,
)

BACKENDS = pytest.mark.parametrize("backend", [Sdpa(), Explicit()], ids=["sdpa", "explicit"])
MASK = torch.tensor([[1, 0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 0, 1, 0]])


def parts(batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(batch, 3, 5, 4), torch.randn(batch, 3, 7, 4), torch.randn(batch, 3, 7, 4)


@BACKENDS
def test_a_query_sees_the_mean_of_the_values_when_all_keys_are_alike(backend: Backend) -> None:
    q, k, v = parts()
    out = backend(q, torch.zeros_like(k), v)
    torch.testing.assert_close(out, v.mean(2, keepdim=True).expand_as(out))


@BACKENDS
def test_keys_that_do_not_count_might_as_well_be_absent(backend: Backend) -> None:
    q, k, v = parts()
    out = backend(q, k, v, key_mask(MASK, 2))
    for b in range(2):
        counting = MASK[b].bool()
        alone = Explicit()(q[b : b + 1], k[b : b + 1, :, counting], v[b : b + 1, :, counting])
        torch.testing.assert_close(out[b : b + 1], alone)


def test_both_forms_of_a_mask_name_the_same_keys() -> None:
    keys = key_mask(MASK, 4)  # two rows, repeated as a block
    flat = torch.arange(4 * 7)
    for b in range(4):
        named = keys.order[keys.offsets[b] : keys.offsets[b + 1]]
        assert torch.equal(named, flat[b * 7 : b * 7 + 7][MASK[b % 2].bool()])
        assert torch.equal(keys.valid[b, 0, 0], MASK[b % 2].bool())
    assert keys.offsets.tolist() == [0, 4, 5, 9, 10]


LENGTHS = [(1, 2, 3), (1, 2, 3), (1, 1, 7), (2, 4, 1)]
"""(sequences, queries, keys): 13 queries and 15 keys in all."""


def rows(queries: int = 13, keys: int = 15) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(queries, 3, 4), torch.randn(keys, 3, 4), torch.randn(keys, 3, 4)


def one_by_one(q: Tensor, k: Tensor, v: Tensor, packed: Segments) -> Tensor:
    """The formula for each sequence by itself, by their offsets."""
    made = []
    for b in range(len(packed.q_offsets) - 1):
        own_q, own_k = (slice(int(ends[b]), int(ends[b + 1])) for ends in (packed.q_offsets, packed.k_offsets))
        counts = slice(None) if packed.mask is None else packed.mask.valid[b, 0, 0]
        own = [q[own_q], k[own_k][counts], v[own_k][counts]]
        made.append(Explicit()(*(part.transpose(0, 1)[None] for part in own))[0].transpose(0, 1))
    return torch.cat(made)


@BACKENDS
def test_packed_sequences_attend_to_their_own_keys_alone(backend: Backend) -> None:
    packed = segments(LENGTHS, torch.device("cpu"))
    assert packed.runs == ((2, 2, 3), (1, 1, 7), (2, 4, 1))
    assert packed.q_offsets.tolist() == [0, 2, 4, 5, 9, 13]
    assert packed.k_offsets.tolist() == [0, 3, 6, 13, 14, 15]
    torch.testing.assert_close(backend.packed(*rows(), packed), one_by_one(*rows(), packed))


@BACKENDS
def test_packed_sequences_may_have_keys_that_do_not_count(backend: Backend) -> None:
    packed = segments([(1, 4, 7), (1, 1, 7)], torch.device("cpu"), MASK)
    torch.testing.assert_close(backend.packed(*rows(5, 14), packed), one_by_one(*rows(5, 14), packed))


class Counting(TorchDispatchMode):
    """Remembers every operation."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.append(str(func))
        out = func(*args, **(kwargs or {}))
        self.largest = max(self.largest, out.numel() if isinstance(out, Tensor) else 0)
        return out


def test_packing_takes_one_call_for_sequences_alike_and_reads_nothing_back() -> None:
    """As many operations for 2 sequences as for 16, none of whose results grows with their square."""
    counts = []
    for batch in (2, 16):
        q, with_mask = torch.randn(batch * 3, 1, 4), torch.ones(batch, 3)
        with Counting() as seen:
            Sdpa().packed(q, q, q, segments([(1, 3, 3)] * batch, q.device, with_mask))
        counts.append(len(seen.names))
        assert seen.largest <= batch * 3 * 4
        assert not [name for name in seen.names if "local_scalar" in name or "nonzero" in name]
    assert counts[0] == counts[1]
    meta = torch.empty(6, 1, 4, device="meta")
    packed = segments([(2, 3, 3)], meta.device, torch.ones(2, 3, device="meta"))
    assert Sdpa().packed(meta, meta, meta, packed).shape == (6, 1, 4)


def test_a_whole_model_changes_its_backend_from_outside() -> None:
    class Named(Sdpa):
        def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None = None) -> Tensor:
            return torch.full_like(q, 3.0)

    class Layer(AttentionLayer):
        def forward(self, h: Tensor) -> Tensor:
            return self.backend(h, h, h)

    model, h = nn.Sequential(Layer(), nn.ModuleList([Layer()])[0]), torch.randn(2, 3, 5, 4)
    before = model(h)
    use_backend(model, Named())
    assert (model(h) == 3).all() and not torch.equal(before, model(h))
    torch.testing.assert_close(Layer()(h), Explicit()(h, h, h))  # others keep theirs
