"""Open-Sora-Plan's transformers on ranks that share the tokens of each clip."""

from functools import partial
from typing import Any

import torch
from lively import enliven
from shared import Answers, answers, assert_shared_alike, exchanged, gathered, recomputed
from torch import Tensor, nn
from vidgen.interfaces import Context
from vidgen.mesh import World
from vidgen_opensora_plan import InpaintOptions, T2VOptions, inpaint, t2v

MODELS = {"t2v": (T2VOptions, t2v.build), "inpaint": (InpaintOptions, inpaint.build)}
FRAMES = 3


def _case(name: str, heads: int = 3, *, frames: int = FRAMES, **options: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    """Two clips of frames x 15 tokens, with captions of 3 tokens and of 1; blocks of all three kinds."""
    kind, build = MODELS[name]
    context = Context(latent_channels=3, latent_stride=(5, 8, 8), text_width=7, text_length=4, seed=11)
    sizes = {"num_layers": 4, "num_attention_heads": heads, "attention_head_dim": 36 // heads}
    model = enliven(build(kind(**{**sizes, **options}), context))
    generator = torch.Generator().manual_seed(5)
    batch = {
        "x": torch.randn(2, 3, frames, 5, 10, generator=generator),
        "timestep": torch.tensor([12.5, 731.0]),
        "y": torch.randn(2, 4, 7, generator=generator),
        "mask": torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]]),
    }
    return model, batch


def _ragged(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    model, batch = _case(name, sparse_n=2)
    valid = torch.zeros(2, FRAMES, 5, 10, dtype=torch.bool)
    valid[0, :2, :, :8] = valid[1, :, :3] = True
    return model, {**batch, "valid": valid}


def _padded() -> tuple[nn.Module, dict[str, Tensor]]:
    """As Open-Sora-Plan trained: what does not count is dealt with the rest."""
    model, batch = _case("t2v", sparse_n=2)
    seen = torch.ones(2, FRAMES, 5, 10)
    seen[0, 2:] = 0
    return model, {**batch, "attention_mask": seen}


def _inpainted() -> tuple[nn.Module, dict[str, Tensor]]:
    model, batch = _case("inpaint", 6)
    frames = torch.rand(len(batch["x"]), model.frames, FRAMES, 1, 1, generator=torch.manual_seed(4)) < 0.5
    to_make = frames.float().expand(-1, -1, -1, *batch["x"].shape[3:])
    return recomputed(model), {**batch, "masked_video": batch["x"].flip(3), "video_mask": to_make}


CASES = {
    "videos": partial(_case, "t2v"),
    "images": partial(_case, "t2v", 6, frames=1, sparse1d=False),
    "clips of several sizes": partial(_ragged, "t2v"),
    "clips of several sizes, inpainted": partial(_ragged, "inpaint"),
    "padding of one grid": _padded,
    "inpainted, blocks recomputed": _inpainted,
}


def _shared(world: World) -> Answers:
    return answers(world, CASES)


def test_ranks_that_share_clips_give_what_one_rank_gives_and_send_what_the_page_says() -> None:
    """45 tokens are filled up to 46, three heads to four."""
    shared = assert_shared_alike(_shared)[2]["videos"]
    assert shared.backward == exchanged(2 * 46 * 4 * 12, ranks=2, times=4 * 4)
    assert shared.forward == shared.backward + gathered(2 * 46 * 3 * 4, ranks=2)
