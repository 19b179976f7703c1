"""Latte-1: its parts by hand, and the same weights in diffusers' own class."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lively import enliven
from safetensors.torch import save_file
from torch import Tensor, nn
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_latte import Latte1Options
from vidgen_latte.latte1 import Latte1, build
from vidgen_latte.model import build as build_latte

TINY = Context(latent_channels=3, latent_size=(5, 6, 6), text_width=7, text_length=4, seed=11)
Make = Callable[..., Latte1]


@pytest.fixture
def make() -> Make:
    """A tiny model with its start values; keywords are options."""

    def making(context: Context = TINY, **options: Any) -> Latte1:
        return build(Latte1Options(**{"hidden_size": 24, "depth": 2, "num_heads": 3, **options}), context).eval()

    return making


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Two clips of five frames: x, timestep, y."""
    generator = torch.Generator().manual_seed(5)
    return {
        "x": torch.randn(2, 3, 5, 6, 6, generator=generator),
        "timestep": torch.tensor([1.0, 128.0]),
        "y": torch.randn(2, 4, 7, generator=generator),
    }


@torch.no_grad()
def test_a_new_model_returns_zeros_of_twice_the_channels(make: Make, batch: dict[str, Tensor]) -> None:
    assert torch.equal(make()(**batch), torch.zeros(2, 6, 5, 6, 6))
    assert make(learn_sigma=False)(**batch).shape == (2, 3, 5, 6, 6)


@torch.no_grad()
def test_caption_tokens_that_do_not_count_have_no_influence(make: Make, batch: dict[str, Tensor]) -> None:
    model, mask = enliven(make()), torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]])
    changed = batch["y"].clone()
    changed[mask == 0] = 9.0
    first = model(**batch, mask=mask)
    torch.testing.assert_close(model(**{**batch, "y": changed}, mask=mask), first, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(model(**batch), first, atol=1e-3)
    encoded = model.encode_text({"y": batch["y"], "mask": mask})
    assert encoded.keys() == {"text", "mask"}
    again = model(batch["x"], batch["timestep"], **encoded)
    torch.testing.assert_close(again, first, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_frames_are_told_apart_by_their_positions_alone(make: Make, batch: dict[str, Tensor]) -> None:
    """Frames in another order, with their positions, give the prediction in that order."""
    model, order = enliven(make()), torch.tensor([3, 0, 4, 2, 1])
    first = model(**batch)
    model.pos_embed_temporal.copy_(model.pos_embed_temporal[:, order])
    moved = model(**{**batch, "x": batch["x"][:, :, order]})
    torch.testing.assert_close(moved, first[:, :, order], rtol=1e-4, atol=1e-5)


def test_the_released_size_has_its_parameters() -> None:
    """Counted by hand: 28 pairs of blocks of width 1152 with an MLP of 4608, captions of 4096 numbers."""
    with torch.device("meta"):
        model = build(Latte1Options(), Context())
    width, mlp = 1152, 4 * 1152
    attention, table = 4 * (width * width + width), 6 * width
    block = attention + table + 2 * width * mlp + mlp + width
    outer = (16 * width + width) + (256 * width + width) + (width * width + width) + (6 * width * width + 6 * width)
    outer += (4096 * width + width) + (width * width + width) + 2 * width + (32 * width + 32)
    assert sum(one.numel() for one in model.parameters()) == 28 * (2 * block + attention) + outer


def twin(**options: Any) -> nn.Module:
    """diffusers' own class, of the tiny model's size."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed, which this compares with")
    return diffusers.LatteTransformer3DModel(
        **{"num_attention_heads": 3, "attention_head_dim": 8, "in_channels": 3, "out_channels": 6, "num_layers": 2},
        **{"cross_attention_dim": 24, "attention_bias": True, "sample_size": 6, "patch_size": 2, "video_length": 5},
        **{"activation_fn": "gelu-approximate", "num_embeds_ada_norm": 1000, "norm_type": "ada_norm_single"},
        **{"norm_elementwise_affine": False, "norm_eps": 1e-6, "caption_channels": 7, **options},
    ).eval()


@torch.no_grad()
def assert_same_prediction(ours: nn.Module, theirs: nn.Module, batch: dict[str, Tensor]) -> None:
    wanted = theirs(batch["x"], timestep=batch["timestep"], encoder_hidden_states=batch["y"]).sample
    assert wanted.abs().max() > 0.5
    torch.testing.assert_close(ours(**batch), wanted, rtol=1e-5, atol=1e-5)


def test_diffusers_predicts_the_same_with_our_weights(make: Make, batch: dict[str, Tensor]) -> None:
    ours, theirs = enliven(make()), twin()
    theirs.load_state_dict(ours.state_in("diffusers"), strict=False)  # but for the tables
    missing = set(theirs.state_dict()) - set(ours.state_in("diffusers"))
    assert missing <= {"pos_embed.pos_embed"}
    assert_same_prediction(ours, theirs, batch)


def test_weights_saved_by_diffusers_predict_the_same_here(make: Make, batch: dict[str, Tensor], tmp_path: Path) -> None:
    theirs = twin()
    with torch.no_grad():
        for i, parameter in enumerate(theirs.parameters()):
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i)))
    theirs.save_pretrained(tmp_path)
    options = Latte1Options(from_pretrained=str(tmp_path))  # its config.json says the rest
    assert_same_prediction(build(options, TINY).eval(), theirs, batch)


def test_what_is_written_can_be_read_again(make: Make, tmp_path: Path) -> None:
    model = enliven(make())
    for name, state in (("own", model.state_dict()), ("theirs", model.state_in("diffusers"))):
        save_file(state, tmp_path / f"{name}.safetensors")
        again = make(from_pretrained=str(tmp_path / f"{name}.safetensors"))
        for key, value in model.state_dict().items():
            assert torch.equal(again.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"patch_size": (1, 2, 3)}, r"square patches of one frame, not \[1, 2, 3\]"),
        ({"mlp_ratio": 2.0}, "an mlp_ratio of 4, not 2.0"),
        ({"space_scale": 2.0}, r"a space_scale of 1.0 at 6 rows, not 2.0"),
    ],
)
def test_a_form_that_diffusers_lacks_is_refused(make: Make, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make(**options).state_in("diffusers")


def test_other_layouts_and_missing_captions_are_refused(make: Make, batch: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match="written as diffusers, not 'jax'"):
        make().state_in("jax")
    with pytest.raises(UserError, match="the model got no caption"):
        make()(batch["x"], batch["timestep"])


def test_the_other_latte_names_this_one(make: Make, tmp_path: Path) -> None:
    from vidgen_latte import LatteOptions

    save_file(make().state_in("diffusers"), tmp_path / "latte1.safetensors")
    with pytest.raises(UserError, match="Use type: Latte-1"):
        build_latte(LatteOptions(from_pretrained=str(tmp_path / "latte1.safetensors")), TINY)
