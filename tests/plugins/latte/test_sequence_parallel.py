"""Latte on ranks that share the tokens of each clip."""

from functools import partial
from typing import Any

import torch
from lively import enliven
from shared import Answers, answers, assert_shared_alike, exchanged, gathered, recomputed
from torch import Tensor, nn
from vidgen.interfaces import Context
from vidgen.mesh import World
from vidgen_latte import Latte1Options, LatteOptions, latte1
from vidgen_latte.model import build


def _case(frames: int, heads: int = 3, **options: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    """Two clips of frames x 15 tokens."""
    context = Context(latent_channels=3, latent_size=(frames, 6, 10), text_width=7, text_length=4, seed=11)
    model = build(LatteOptions(hidden_size=24, depth=3, num_heads=heads, **options), context)
    generator = torch.Generator().manual_seed(5)
    batch = {
        "x": torch.randn(2, 3, frames, 6, 10, generator=generator),
        "timestep": torch.tensor([12.5, 731.0]),
        "y": torch.randn(2, 4, 7, generator=generator),
    }
    return enliven(model), batch


def _latte1(frames: int) -> tuple[nn.Module, dict[str, Tensor]]:
    """With captions of 3 tokens and of 1."""
    _, batch = _case(frames)
    context = Context(latent_channels=3, latent_size=(frames, 6, 10), text_width=7, text_length=4, seed=11)
    model = enliven(latte1.build(Latte1Options(hidden_size=24, depth=2, num_heads=3), context))
    return recomputed(model), {**batch, "mask": torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]])}


def _recomputed() -> tuple[nn.Module, dict[str, Tensor]]:
    model, batch = _case(8, class_dropout_prob=0.5)
    return recomputed(model), batch


CASES = {
    "places are shared": partial(_case, 5),
    "frames are shared": partial(_case, 8),
    "single frames of six heads": partial(_case, 1, 6),
    "Latte-1, places are shared": partial(_latte1, 5),
    "Latte-1, frames are shared": partial(_latte1, 8),
    "flat captions": partial(_case, 5, condition="flat_text"),
    "blocks recomputed, captions dropped": _recomputed,
}


def _shared(world: World) -> Answers:
    return answers(world, CASES)


def test_ranks_that_share_clips_give_what_one_rank_gives_and_send_what_the_page_says() -> None:
    """Of three blocks one attends across frames."""
    shared = assert_shared_alike(_shared)[2]["frames are shared"]
    assert shared.backward == exchanged(2 * 8 * 15 * 24, ranks=2, times=2)
    assert shared.forward == shared.backward + gathered(2 * 8 * 15 * 6 * 4, ranks=2)
