"""Converted weights in diffusers' own classes, and theirs here; skipped where diffusers is not installed.

Times are early ones: at t = 999 the angles of the highest frequencies, t itself, are only exact to 6e-5 in float32.
DiT: diffusers spaces its timestep frequencies by 1/127 of their range, the original model and vidgen by 1/128. They are
compared where both are the same, at time 0, and at other times with the original spacing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lively import enliven
from torch import Tensor, nn
from vidgen import build

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install diffusers")
Weigh = Callable[..., Any]
TINY = {"hidden_size": 24, "depth": 2, "num_heads": 3, "in_channels": 3, "no_temporal_pos_emb": True}
TIMES = torch.tensor([0.0, 1.0, 37.0, 128.0])


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def spaced_as_in_the_original(model: nn.Module) -> nn.Module:
    for block in model.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    return model


@torch.no_grad()
def assert_equal_dits(ours: nn.Module, theirs: nn.Module) -> None:
    x, classes = drawn(4, 3, 1, 6, 6, seed=1), torch.tensor([0, 4, 5, 2])
    theirs.eval()
    for times in (torch.zeros(4), TIMES):
        wanted = theirs(x[:, :, 0], timestep=times, class_labels=classes).sample
        assert wanted.abs().max() > 0.5
        torch.testing.assert_close(ours(x, times, classes)[:, :, 0], wanted, rtol=1e-5, atol=1e-5)
        spaced_as_in_the_original(theirs)


@torch.no_grad()
def assert_equal_pixarts(ours: nn.Module, theirs: nn.Module, side: int) -> None:
    x, y = drawn(4, 3, 1, side, side, seed=1), drawn(4, 4, 7, seed=2)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]])
    sizes = {"height": torch.full((4,), 32.0), "width": torch.full((4,), 80.0), "ar": torch.full((4,), 0.4)}
    of_size = ours.options.micro_condition
    added = {"resolution": torch.tensor([[32.0, 80.0]] * 4), "aspect_ratio": torch.full((4, 1), 0.4)}
    wanted = theirs(
        x[:, :, 0],
        encoder_hidden_states=y,
        encoder_attention_mask=mask,
        timestep=TIMES,
        added_cond_kwargs=added if of_size else {"resolution": None, "aspect_ratio": None},
    ).sample
    assert wanted.abs().max() > 0.5
    found = ours(x, TIMES, y, mask, **(sizes if of_size else {}))[:, :, 0]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def shaken(network: nn.Module) -> nn.Module:
    for i, parameter in enumerate(network.parameters()):
        parameter.copy_(0.2 * drawn(*parameter.shape, seed=i))
    return network.eval()


def test_a_published_dit_predicts_the_same_in_diffusers(here: Path, weigh: Weigh) -> None:
    ours = enliven(build("model", "DiT", **TINY, input_size=[1, 6, 6], condition="label_5")).eval()
    torch.save({"ema": ours.state_in("original")}, here / "dit.pt")
    done = weigh("dit.pt", "-o", "theirs", "--to", "diffusers", "--set", "num_heads=3")
    assert done.status == 0, done.err
    assert_equal_dits(ours, diffusers.DiTTransformer2DModel.from_pretrained(here / "theirs"))


def test_a_dit_of_diffusers_predicts_the_same_here(here: Path, weigh: Weigh) -> None:
    theirs = shaken(
        diffusers.DiTTransformer2DModel(
            **{"in_channels": 3, "out_channels": 6, "num_layers": 2, "sample_size": 6, "patch_size": 2},
            **{"num_attention_heads": 3, "attention_head_dim": 8, "num_embeds_ada_norm": 5, "norm_eps": 1e-6},
        )
    )
    for block in theirs.transformer_blocks[1:]:  # one embedder for all blocks, as in every published DiT
        block.norm1.emb.load_state_dict(theirs.transformer_blocks[0].norm1.emb.state_dict())
    theirs.save_pretrained(here / "theirs")
    done = weigh("theirs", "-o", "mine", "--to", "vidgen")
    assert done.status == 0, done.err
    assert_equal_dits(build("model", "DiT", from_pretrained=str(here / "mine")).eval(), theirs)
    assert weigh("theirs", "-o", "original.pt", "--to", "original").status == 0
    assert torch.load(here / "original.pt", weights_only=True)["x_embedder.proj.weight"].shape == (24, 3, 2, 2)


@pytest.mark.parametrize("kind", ["PixArt", "PixArtMS"])
def test_a_published_pixart_predicts_the_same_in_diffusers(here: Path, weigh: Weigh, kind: str) -> None:
    options = {**TINY, "input_size": [1, 8, 8], "base_size": 8, "caption_channels": 7, "model_max_length": 4}
    ours = enliven(build("model", kind, **options)).eval()
    torch.save({"state_dict": ours.state_in("original")}, here / "pixart.pth")
    arguments = ("--set", "num_heads=3", "--set", "base_size=8")
    done = weigh("pixart.pth", "-o", "theirs", "--to", "diffusers", *arguments)
    assert done.status == 0, done.err
    theirs = diffusers.PixArtTransformer2DModel.from_pretrained(here / "theirs").eval()
    assert_equal_pixarts(ours, theirs, side=8)


def test_a_pixart_of_diffusers_predicts_the_same_here(here: Path, weigh: Weigh) -> None:
    theirs = shaken(
        diffusers.PixArtTransformer2DModel(
            **{"in_channels": 3, "out_channels": 6, "num_layers": 2, "sample_size": 8, "patch_size": 2},
            **{"num_attention_heads": 3, "attention_head_dim": 8, "cross_attention_dim": 24, "caption_channels": 7},
            use_additional_conditions=False,
        )
    )
    theirs.save_pretrained(here / "theirs")
    done = weigh("theirs", "-o", "mine", "--to", "vidgen", "--set", "model_max_length=4")
    assert done.status == 0, done.err
    assert "no null caption" in done.err
    assert_equal_pixarts(build("model", "PixArt", from_pretrained=str(here / "mine")).eval(), theirs, side=8)


LATTE = {
    "hidden_size": 24,
    "depth": 2,
    "num_heads": 3,
    "in_channels": 3,
    "input_size": [5, 6, 6],
    "caption_channels": 7,
}


@torch.no_grad()
def assert_equal_lattes(ours: nn.Module, theirs: nn.Module) -> None:
    x, y = drawn(2, 3, 5, 6, 6, seed=1), drawn(2, 4, 7, seed=2)
    wanted = theirs(x, timestep=TIMES[1:3], encoder_hidden_states=y).sample
    assert wanted.abs().max() > 0.5
    torch.testing.assert_close(ours(x, TIMES[1:3], y), wanted, rtol=1e-5, atol=1e-5)


def test_latte_1_predicts_the_same_in_diffusers_and_here_again(here: Path, weigh: Weigh) -> None:
    ours = enliven(build("model", "Latte-1", **LATTE)).eval()
    torch.save(ours.state_dict(), here / "latte1.pt")
    sizes = [argument for key, value in LATTE.items() for argument in ("--set", f"{key}={value}")]
    done = weigh("latte1.pt", "-o", "theirs", "--to", "diffusers", "--model", "Latte-1", *sizes)
    assert done.status == 0, done.err
    theirs = diffusers.LatteTransformer3DModel.from_pretrained(here / "theirs").eval()
    assert_equal_lattes(ours, theirs)
    shaken(theirs).save_pretrained(here / "shaken")
    done = weigh("shaken", "-o", "mine", "--to", "vidgen")
    assert done.status == 0, done.err
    assert done.err.startswith("shaken: Latte-1\n")
    assert_equal_lattes(build("model", "Latte-1", from_pretrained=str(here / "mine")).eval(), theirs)
