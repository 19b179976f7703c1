"""STDiT, STDiT2 and STDiT3 on ranks that share the tokens of each sample."""

from functools import partial
from itertools import product
from typing import Any

import torch
from lively import enliven
from shared import Answers, answers, assert_shared_alike, exchanged, gathered, recomputed
from torch import Tensor, nn
from vidgen.interfaces import Context
from vidgen.mesh import World
from vidgen_stdit import STDiT2Options, STDiT3Options, STDiTOptions, stdit1, stdit2, stdit3

MODELS = {
    "STDiT": (STDiTOptions, stdit1.build),
    "STDiT2": (STDiT2Options, stdit2.build),
    "STDiT3": (STDiT3Options, stdit3.build),
}
SIZES = [(5, 6, 7), (1, 4, 10), (3, 5, 4)]
"""Latent (T, H, W) of three clips; rows and columns do not all divide into patches, the second is a still."""


def _model(name: str, frames: int = 5, **options: Any) -> nn.Module:
    kind, build = MODELS[name]
    context = Context(latent_channels=3, latent_size=(frames, 6, 10), text_width=7, text_length=4, seed=11)
    return enliven(build(kind(**{"hidden_size": 24, "depth": 2, "num_heads": 3, **options}), context))


def _batch(model: nn.Module, clips: int, frames: int, **more: Tensor) -> dict[str, Tensor]:
    """Clips of frames x 15 tokens with captions of 3, 1 and 4 tokens."""
    generator = torch.Generator().manual_seed(5)
    batch = {
        "x": torch.randn(clips, 3, frames, 6, 10, generator=generator),
        "timestep": torch.tensor([12.5, 731.0, 300.0])[:clips],
        "y": torch.randn(clips, 4, 7, generator=generator),
        "mask": torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0], [1, 1, 1, 1]])[:clips],
        "fps": torch.tensor([24.0, 120.0, 8.0])[:clips],
        "height": torch.tensor([48.0, 32.0, 40.0])[:clips],
        "width": torch.tensor([56.0, 80.0, 32.0])[:clips],
        "num_frames": torch.tensor([17.0, 1.0, 9.0])[:clips],
        "ar": torch.tensor([0.9, 0.4, 1.2])[:clips],
        **more,
    }
    return {key: value for key, value in batch.items() if key in model.conditioning | {"x", "timestep"}}


def _video(name: str, frames: int, **options: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    """Two videos some of whose frames are given."""
    model = _model(name, frames, **options)
    given = torch.rand(2, frames, generator=torch.Generator().manual_seed(2)) < 0.4
    return model, _batch(model, 2, frames, x_mask=~given)


def _still(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    model = _model(name, 1, num_heads=6, **({} if name == "STDiT" else {"qk_norm": True}))
    return model, _batch(model, 1, 1)


def _single_place(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """One clip whose frames have one token each: fewer sequences across frames than ranks."""
    model = _model(name, 8)
    batch = _batch(model, 1, 8)
    return model, {**batch, "x": batch["x"][..., :2, :2]}


def _ragged(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    model = _model(name, drop_path=0.2)
    valid = torch.zeros(3, 5, 6, 10, dtype=torch.bool)
    for clip, size in enumerate(SIZES):
        valid[(clip, *map(slice, size))] = True
    x_mask = torch.tensor([[1, 0, 1, 1, 0], [1, 0, 1, 0, 1], [0, 1, 1, 0, 0]]).bool()
    return recomputed(model), _batch(model, 3, 5, valid=valid, x_mask=x_mask)


def _ragged_few(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """Five tokens in all, so that the last of four ranks has none of its own."""
    model = _model(name)
    valid = torch.zeros(2, 3, 2, 4, dtype=torch.bool)
    valid[0, :1] = valid[1, :, :, :2] = True
    batch = _batch(model, 2, 5, valid=valid)
    return model, {**batch, "x": batch["x"][:, :, :3, :2, :4]}


def _recomputed(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    model, batch = _video(name, 8, class_dropout_prob=0.5, drop_path=0.4)
    return recomputed(model), batch


def _compiled() -> tuple[nn.Module, dict[str, Tensor]]:
    model, batch = _video("STDiT3", 8, depth=1)
    for block in model.repeated_blocks():
        block.forward = torch.compile(block.forward, backend="eager")
    return model, batch


def _packed_captions() -> tuple[nn.Module, dict[str, Any]]:
    model = _model("STDiT3", skip_y_embedder=True)
    y = torch.randn(1, 5, 24, generator=torch.Generator().manual_seed(4))
    return model, {**_batch(model, 2, 5), "y": y, "mask": [2, 3]}


KINDS = {
    "five frames": partial(_video, frames=5),
    "eight frames": partial(_video, frames=8),
    "a still": _still,
    "frames of a single place": _single_place,
    "clips of several sizes": _ragged,
    "few tokens in clips of several sizes": _ragged_few,
    "blocks recomputed, captions and blocks dropped": _recomputed,
}
CASES = {f"{name}, {kind}": partial(make, name) for name, (kind, make) in product(MODELS, KINDS.items())} | {
    "STDiT2, norm after the rotation": partial(_video, "STDiT2", frames=5, qk_norm=True, qk_norm_legacy=True),
    "STDiT3, packed captions": _packed_captions,
}


def _shared(world: World) -> Answers:
    return answers(world, CASES)


def test_ranks_that_share_samples_give_what_one_rank_gives_and_send_what_the_page_says() -> None:
    """88 tokens of several sizes; three heads are filled up to four."""
    found = assert_shared_alike(_shared)[2]
    for name in MODELS:
        video, ragged = found[f"{name}, eight frames"], found[f"{name}, clips of several sizes"]
        assert video.backward == exchanged(2 * 8 * 15 * 24, ranks=2, times=2 * 2)
        assert video.forward == video.backward + gathered(2 * 8 * 15 * 6 * 4, ranks=2)
        assert ragged.backward == 2 * exchanged(88 * 4 * 8, ranks=2, times=2 * 8), "twice: blocks are recomputed"


def _shared_compiled(world: World) -> Answers:
    return answers(world, {"blocks compiled": _compiled})


def test_compiled_blocks_share_samples() -> None:
    assert_shared_alike(_shared_compiled, (2,))
