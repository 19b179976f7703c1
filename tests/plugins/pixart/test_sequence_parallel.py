"""PixArt on ranks that share the tokens of each clip."""

from functools import partial
from typing import Any

import torch
from lively import enliven
from shared import Answers, answers, assert_shared_alike, exchanged, gathered, recomputed
from torch import Tensor, nn
from vidgen.interfaces import Context
from vidgen.mesh import World
from vidgen_pixart import KvCompression, PixArtOptions
from vidgen_pixart.model import build


def _case(heads: int = 3, *, frames: int = 3, **options: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    """Two clips of frames x 15 tokens, with captions of 3 tokens and of 1."""
    context = Context(latent_channels=3, latent_size=(frames, 6, 10), text_width=7, text_length=4, seed=11)
    model = build(PixArtOptions(hidden_size=24, depth=2, num_heads=heads, **options), context)
    generator = torch.Generator().manual_seed(5)
    batch = {
        "x": torch.randn(2, 3, frames, 6, 10, generator=generator),
        "timestep": torch.tensor([12.5, 731.0]),
        "y": torch.randn(2, 4, 7, generator=generator),
        "mask": torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]]),
    }
    return enliven(model), batch


def _compressed(sampling: Any, over: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    config = KvCompression(sampling=sampling, scale_factor=2, kv_compress_layer=[1])
    return _case(kv_compress_config=config, qk_norm=True, qk_norm_over=over)


def _sized() -> tuple[nn.Module, dict[str, Tensor]]:
    """Images of another size than positions refer to, whose size in pixels is told."""
    model, batch = _case(6, frames=1, any_size=True, micro_condition=True, no_temporal_pos_emb=True)
    told = {"height": torch.tensor([48.0]), "width": torch.tensor([56.0]), "ar": torch.tensor([48 / 56])}
    return model, {**batch, **told, "x": batch["x"][..., :6]}


def _recomputed() -> tuple[nn.Module, dict[str, Tensor]]:
    model, batch = _case(class_dropout_prob=0.5, drop_path=0.4)
    return recomputed(model), batch


CASES = {
    "videos": _case,
    "images of any size": _sized,
    "a learned mean of keys": partial(_compressed, "conv", "heads"),
    "a learned mean of keys, norm over the width": partial(_compressed, "conv", "width"),
    "first keys of squares": partial(_compressed, "ave", "heads"),
    "blocks recomputed, captions and blocks dropped": _recomputed,
}


def _shared(world: World) -> Answers:
    return answers(world, CASES)


def test_ranks_that_share_clips_give_what_one_rank_gives_and_send_what_the_page_says() -> None:
    """45 tokens are filled up to 46; one block in two collects keys and values."""
    found = assert_shared_alike(_shared)[2]
    assert found["videos"].backward == exchanged(2 * 46 * 24, ranks=2, times=2 * 2)
    assert found["videos"].forward == found["videos"].backward + gathered(2 * 46 * 6 * 4, ranks=2)
    compressed = found["a learned mean of keys"].backward
    assert compressed == exchanged(2 * 46 * 24, ranks=2, times=2) + 2 * gathered(2 * 46 * 24, ranks=2)
