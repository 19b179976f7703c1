"""DiT on ranks that share the tokens of each clip."""

from functools import partial
from typing import Any

import torch
from lively import enliven
from shared import Answers, answers, assert_shared_alike, exchanged, gathered, recomputed
from torch import Tensor, nn
from vidgen.interfaces import Context
from vidgen.mesh import World
from vidgen_dit import DiTOptions
from vidgen_dit.model import build


def _case(heads: int = 3, clips: int = 2, *, frames: int = 5, **options: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    """A clip of frames x 15 tokens."""
    context = Context(latent_channels=3, latent_size=(frames, 6, 10), text_width=7, text_length=4, seed=11)
    model = build(DiTOptions(hidden_size=24, depth=2, num_heads=heads, **options), context)
    generator = torch.Generator().manual_seed(5)
    batch = {
        "x": torch.randn(clips, 3, frames, 6, 10, generator=generator),
        "timestep": torch.rand(clips, generator=generator) * 1000,
        "y": torch.randn(clips, 4, 7, generator=generator),
        "mask": torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]])[:clips],
    }
    return enliven(model), batch


def _recomputed() -> tuple[nn.Module, dict[str, Tensor]]:
    model, batch = _case(class_dropout_prob=0.5)
    return recomputed(model), batch


CASES = {
    "two clips": _case,
    "six heads": partial(_case, 6),
    "one clip, of one frame": partial(_case, clips=1, frames=1, no_temporal_pos_emb=True),
    "blocks recomputed, captions dropped": _recomputed,
}


def _shared(world: World) -> Answers:
    return answers(world, CASES)


def test_ranks_that_share_clips_give_what_one_rank_gives_and_send_what_the_page_says() -> None:
    """75 tokens are filled up to 76, six heads on four ranks to eight."""
    found = assert_shared_alike(_shared)
    by_clips, by_heads = found[2]["two clips"], found[4]["six heads"]
    assert by_clips.backward == exchanged(2 * 76 * 24, ranks=2, times=2 * 2)
    assert by_clips.forward == by_clips.backward + gathered(2 * 76 * 6 * 4, ranks=2)
    assert by_heads.backward == exchanged(2 * 76 * 8 * 4, ranks=4, times=2 * 4)
