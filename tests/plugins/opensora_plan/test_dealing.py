"""Skiparse attention: which tokens attend to each other, in which order, and which count."""

import pytest
import torch
from torch import Tensor
from vidgen.attention import Explicit, KeyMask, Sdpa
from vidgen_opensora_plan.dealing import Dealing

SHAPES = [(parts, run, tokens) for parts in (2, 3, 4) for run in (1, parts) for tokens in (5, 16, 23, 36, 47)]


def queries(tokens: int, clips: int = 2) -> list[Tensor]:
    """q, k, v: (B, N, K, E)."""
    generator = torch.Generator().manual_seed(tokens)
    return [torch.randn(clips, tokens, 3, 4, generator=generator) for _ in range(3)]


def formula(q: Tensor, k: Tensor, v: Tensor, together: Tensor) -> Tensor:
    """Attention over all tokens at once; together: (B, N, N), which keys each query sees."""
    scores = torch.einsum("bnke,bmke->bknm", q, k) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~together[:, None], float("-inf")).softmax(-1)
    return torch.einsum("bknm,bmke->bnke", weights, v)


def of_part(parts: int, run: int, tokens: int) -> Tensor:
    """The number of each token's sub-sequence, (N,)."""
    return torch.arange(tokens) // run % parts


class Watching(Sdpa):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.calls: list[tuple[Tensor, KeyMask | None]] = []

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, keys: KeyMask | None = None) -> Tensor:
        self.calls.append((k, keys))
        return super().__call__(q, k, v, keys)


def test_tokens_are_dealt_one_by_one_or_in_runs() -> None:
    tokens = torch.arange(9.0)[None, :, None]
    assert Dealing(3, 1).dealt(tokens)[..., 0].tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    tokens = torch.arange(8.0)[None, :, None]
    assert Dealing(2, 2).dealt(tokens)[..., 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_zeros_fill_up_to_a_multiple_of_the_square() -> None:
    tokens = torch.arange(1.0, 6.0)[None, :, None]
    assert Dealing(2, 1).dealt(tokens)[..., 0].tolist() == [[1, 3, 5, 0], [2, 4, 0, 0]]
    assert Dealing(2, 2).dealt(tokens)[..., 0].tolist() == [[1, 2, 5, 0], [3, 4, 0, 0]]


@pytest.mark.parametrize(("parts", "run", "tokens"), SHAPES)
def test_collecting_undoes_dealing(parts: int, run: int, tokens: int) -> None:
    dealing, x = Dealing(parts, run), queries(tokens, clips=3)[0]
    assert torch.equal(dealing.collected(dealing.dealt(x), tokens=tokens), x)


@pytest.mark.parametrize(("parts", "run", "tokens"), SHAPES)
def test_tokens_attend_to_those_of_their_sub_sequence_alone(parts: int, run: int, tokens: int) -> None:
    q, k, v = queries(tokens)
    part = of_part(parts, run, tokens)
    together = (part[:, None] == part).expand(2, -1, -1)
    made = Dealing(parts, run).attend(Sdpa(), q, k, v)
    torch.testing.assert_close(made, formula(q, k, v, together), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("parts", "run", "tokens"), SHAPES)
def test_a_mask_of_ones_changes_nothing(parts: int, run: int, tokens: int) -> None:
    q, k, v = queries(tokens)
    masked = Dealing.of(parts, run, torch.ones(2, tokens, dtype=torch.bool))
    assert masked.keys is not None
    torch.testing.assert_close(
        masked.attend(Explicit(), q, k, v), Dealing(parts, run).attend(Explicit(), q, k, v), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(("parts", "run", "tokens"), SHAPES)
def test_without_a_mask_kernels_get_none_and_no_zeros(parts: int, run: int, tokens: int) -> None:
    q, k, v = queries(tokens)
    backend = Watching()
    Dealing(parts, run).attend(backend, q, k, v)
    assert all(keys is None for _, keys in backend.calls)
    assert len(backend.calls) <= 3
    assert sum(len(one) * one.shape[2] for one, _ in backend.calls) == 2 * tokens


def test_one_part_is_attention_over_all() -> None:
    q, k, v = queries(23)
    together = torch.ones(2, 23, 23, dtype=torch.bool)
    torch.testing.assert_close(Dealing().attend(Sdpa(), q, k, v), formula(q, k, v, together), rtol=0, atol=1e-5)


@pytest.mark.parametrize("run", [1, 3])
def test_tokens_that_do_not_count_are_seen_by_nobody(run: int) -> None:
    q, k, v = queries(23)
    real = torch.ones(2, 23, dtype=torch.bool)
    real[0, 9:15] = False
    real[1, 20:] = False
    part = of_part(3, run, 23)
    together = (part[:, None] == part) & real[:, None]
    made = Dealing.of(3, run, real).attend(Sdpa(), q, k, v)
    torch.testing.assert_close(made[real], formula(q, k, v, together)[real], rtol=0, atol=1e-5)


def test_where_nothing_counts_zeros_come_before_tokens() -> None:
    """5 tokens in 2 parts: 0 2 4 and a zero, 1 3 and two zeros."""
    q, k, v = queries(5)
    made = Dealing.of(2, 1, torch.tensor([[True, False, True, False, True]] * 2)).attend(Sdpa(), q, k, v)
    assert made[:, 1::2].abs().max() < 1e-7  # e ** -20 of the tokens is left
    assert made[:, ::2].abs().min() > 1e-7


def test_where_nothing_counts_and_nothing_fills_up_all_count() -> None:
    """With three digits of their scores; see test_counting."""
    q, k, v = queries(4)
    made = Dealing.of(2, 1, torch.tensor([[True, False, True, False]] * 2)).attend(Sdpa(), q, k, v)
    torch.testing.assert_close(made, Dealing(2, 1).attend(Sdpa(), q, k, v), rtol=0, atol=2e-3)
