"""Attention: masks, packed sequences, and choosing a backend."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from vidgen.attention import AttentionLayer, Backend, Explicit, KeyMask, Sdpa, key_mask, use_backend

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


@BACKENDS
def test_packed_sequences_attend_to_their_own_keys_alone(backend: Backend) -> None:
    q, k, v = (part[0].transpose(0, 1) for part in parts())  # (N, K, E)
    q_ends, k_ends = torch.tensor([0, 2, 5]), torch.tensor([0, 6, 7])
    out = backend.packed(q, k, v, q_ends, k_ends)
    for b in range(2):
        own = [
            part[start[b] : start[b + 1]].transpose(0, 1)[None]
            for part, start in ((q, q_ends), (k, k_ends), (v, k_ends))
        ]
        torch.testing.assert_close(out[q_ends[b] : q_ends[b + 1]], Explicit()(*own)[0].transpose(0, 1))


@BACKENDS
def test_padding_behind_packed_sequences_is_finite_and_touches_nothing(backend: Backend) -> None:
    q, k, v = (part[0].transpose(0, 1) for part in parts())
    q_ends, k_ends = torch.tensor([0, 2, 4]), torch.tensor([0, 2, 3])
    out = backend.packed(q, k, v, q_ends, k_ends)
    assert out.isfinite().all()
    torch.testing.assert_close(out[:4], backend.packed(q[:4], k[:3], v[:3], q_ends, k_ends))


class Counting(TorchDispatchMode):
    """Remembers every operation."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_packing_loops_over_no_samples_and_reads_nothing_back() -> None:
    """As many operations for 2 sequences as for 16, and all of them possible where there are no values."""
    counts = []
    for batch in (2, 16):
        rows, heads = torch.randn(batch * 3, 1, 4), torch.arange(batch + 1) * 3
        with Counting() as seen:
            Sdpa().packed(rows, rows, rows, heads, heads)
            key_mask(torch.ones(batch, 3), batch)
        counts.append(len(seen.names))
        assert not [name for name in seen.names if "local_scalar" in name or "nonzero" in name]
    assert counts[0] == counts[1]
    meta = torch.empty(6, 1, 4, device="meta")
    ends = torch.empty(3, dtype=torch.int64, device="meta")
    assert Sdpa().packed(meta, meta, meta, ends, ends).shape == (6, 1, 4)
    assert key_mask(torch.ones(2, 3, device="meta"), 4).valid.shape == (4, 1, 1, 3)


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
