"""Building Latte: names, sizes from the recipe, start values, weights from files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_latte import LatteOptions, vidgen_models
from vidgen_latte.model import Latte, build
from vidgen_latte.weights import to_latte

Make = Callable[..., Latte]
COMPONENTS = {component.name: component for component in vidgen_models()}
CLASSES = {"input_size": (5, 6, 6), "condition": "label_5"}


def test_the_published_sizes_are_offered() -> None:
    published = {f"Latte-{size}/{patch}" for size in ("XL", "L", "B", "S") for patch in (2, 4, 8)}
    assert set(COMPONENTS) == {"Latte", "Latte-1", "Latte-XL/2x2"} | published


@pytest.mark.parametrize(("name", "parameters"), [("Latte-XL/2", 673_799_072), ("Latte-S/2", 32_519_840)])
def test_sizes_are_those_of_the_published_models(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = build(COMPONENTS[name].options(condition="label_101"), Context(load_weights=False))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_sizes_come_from_the_rest_of_the_recipe() -> None:
    context = Context(latent_channels=5, latent_size=(3, 4, 6), text_width=9, text_length=2)
    model = build(LatteOptions(hidden_size=8, depth=1, num_heads=2, model_max_length=77), context)
    assert (model.latent_channels, model.size, model.grid) == (5, (3, 4, 6), (3, 2, 3))
    assert (model.text_width, model.conditioning) == (9, {"y", "mask", "drop_caption"})
    assert model.repeated_blocks() == [model.blocks[0]]


def test_sizes_have_defaults_when_built_alone() -> None:
    model = build(LatteOptions(hidden_size=8, depth=1, num_heads=2), Context())
    assert (model.latent_channels, model.size, model.text_width) == (4, (16, 32, 32), 512)
    model = build(LatteOptions(hidden_size=8, depth=1, num_heads=2, condition="flat_text"), Context())
    assert model.state_dict()["text_embedding_projection.1.weight"].shape == (8, 77 * 768)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 4}, "in_channels is 4, but the autoencoder gives 3"),
        ({"caption_channels": 8}, "caption_channels is 8, but the text encoder gives 7"),
        ({"condition": "flat_text", "model_max_length": 77}, "model_max_length is 77, but the text encoder gives 4"),
        ({"patch_size": (2, 2, 2)}, r"\[5, 6, 14\] .* patches of \[2, 2, 2\]; \[4, 6, 14\] would"),
        ({"hidden_size": 30}, "hidden_size is 30; it has to be a multiple of 4"),
        ({"condition": "nothing"}, "condition is 'nothing'; it can be text, flat_text, none, or label_<K>"),
        ({"condition": "label"}, "condition is 'label', which does not say how many classes"),
    ],
)
def test_options_that_contradict_are_refused(fresh: Make, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh(**options)


@pytest.mark.parametrize("condition", ["text", "flat_text"])
def test_a_new_model_returns_zeros(fresh: Make, batch: dict[str, Tensor], condition: str) -> None:
    assert torch.equal(fresh(condition=condition)(**batch), torch.zeros(2, 6, 5, 6, 14))


def test_start_values_have_their_distributions(fresh: Make) -> None:
    state = fresh(hidden_size=96, num_heads=4).state_dict()
    flat = fresh(hidden_size=96, num_heads=4, condition="flat_text").state_dict()
    xavier = {
        "blocks.1.attn.qkv.weight": (6 / (96 + 288)) ** 0.5,
        "x_embedder.proj.weight": (6 / (3 * 4 + 96)) ** 0.5,
        "text_embedding_projection.1.weight": (6 / (4 * 7 + 96)) ** 0.5,
    }
    for name, bound in xavier.items():
        assert 0.9 * bound < flat[name].abs().max() <= bound, name
    for name in ("t_embedder.mlp.0", "t_embedder.mlp.2", "y_embedder.y_proj.fc1", "y_embedder.y_proj.fc2"):
        assert state[f"{name}.weight"].std() == pytest.approx(0.02, rel=0.1), name
    for name, value in state.items():
        zero = name.endswith("bias") or "adaLN_modulation" in name or name == "final_layer.linear.weight"
        assert bool(value.any()) != zero, name


def test_the_original_layout_has_the_published_entries(fresh: Make) -> None:
    state = {name: tuple(value.shape) for name, value in fresh(**CLASSES).state_in("original").items()}
    assert state["pos_embed"] == (1, 9, 24)
    assert state["temp_embed"] == (1, 5, 24)
    assert state["x_embedder.proj.weight"] == (24, 3, 2, 2)
    assert len(state) == 2 + 2 + 4 + 1 + 2 * 10 + 4


@pytest.mark.parametrize("condition", ["label_5", "flat_text", "none"])
def test_weights_of_the_original_come_back_at_another_clip_size(
    lively: Make, fresh: Make, tmp_path: Path, condition: str
) -> None:
    sizes = {"condition": condition, "caption_channels": 7, "model_max_length": 4}
    trained = lively(**sizes, input_size=(5, 6, 6))
    averaged = trained.state_in("original")
    other = {name: torch.zeros_like(value) for name, value in averaged.items()}
    torch.save({"model": other, "ema": averaged}, tmp_path / "ucf101.pt")
    model = fresh(**sizes, input_size=(3, 4, 8), from_pretrained=str(tmp_path / "ucf101.pt"))
    assert model.pos_embed_temporal.shape == (1, 3, 24)
    torch.testing.assert_close(model.pos_embed_temporal, trained.pos_embed_temporal[:, :3], rtol=0, atol=0)
    for name, parameter in trained.named_parameters():
        assert torch.equal(model.get_parameter(name), parameter), name


def test_own_weights_come_back(lively: Make, fresh: Make, tmp_path: Path) -> None:
    trained = lively()
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    model = fresh(from_pretrained=str(tmp_path))
    for name, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_a_model_of_captions_takes_all_but_the_classes(lively: Make, fresh: Make, tmp_path: Path) -> None:
    trained, start = lively(**CLASSES), fresh()
    torch.save(trained.state_in("original"), tmp_path / "classes.pt")
    model = fresh(from_pretrained=str(tmp_path / "classes.pt"))
    for name, value in model.state_dict().items():
        kept = name.startswith(("y_embedder", "pos_embed"))
        assert torch.equal(value, (start if kept else trained).state_dict()[name]), name


def test_weights_that_do_not_fit_are_refused(lively: Make, fresh: Make, tmp_path: Path) -> None:
    path = tmp_path / "classes.pt"
    torch.save(lively(**CLASSES).state_in("original"), path)
    with pytest.raises(UserError, match=r"not in the model \(1\): y_embedder\.embedding_table\.weight"):
        fresh(condition="none", from_pretrained=str(path))
    with pytest.raises(UserError, match=r"not in the file \(20\): blocks\.2\.attn\.qkv\.weight"):
        fresh(**CLASSES, depth=4, from_pretrained=str(path))


def test_weights_of_the_text_to_video_model_are_refused(fresh: Make, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "LatteTransformer3DModel", "patch_size": 2}')
    save_file({"adaln_single.linear.weight": torch.zeros(1)}, tmp_path / "diffusion_pytorch_model.safetensors")
    with pytest.raises(UserError, match=r"weights of Latte-1 .* another network"):
        fresh(from_pretrained=str(tmp_path))


@pytest.mark.parametrize(
    ("layout", "changed", "message"),
    [
        ("diffusers", {}, "Latte has no layout 'diffusers'; it has original"),
        ("original", {"condition": "text", "caption_channels": 7}, "takes classes, flat_text or none"),
        ("original", {"input_size": (5, 6, 4)}, "as many rows of tokens as columns, not 3 and 2"),
        ("original", {"depth": 3}, "an even depth, not 3"),
        ("original", {"input_size": (4, 6, 6), "patch_size": (2, 2, 2)}, r"patches of one frame, not \[2, 2, 2\]"),
    ],
)
def test_a_layout_without_a_place_for_the_model_is_refused(
    fresh: Make, layout: str, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        fresh(**{**CLASSES, **changed}).state_in(layout)


def test_diffusers_class_cannot_be_this_network() -> None:
    """Its last layer modulates with the timestep's vector itself, and its modulation is shared: see README.md."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install diffusers")
    sizes = {"num_attention_heads": 3, "attention_head_dim": 8, "in_channels": 3, "sample_size": 6, "patch_size": 2}
    theirs = diffusers.LatteTransformer3DModel(**sizes, caption_channels=7, norm_type="ada_norm_single")
    shapes = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    assert shapes["adaln_single.linear.weight"] == (6 * 24, 24)
    assert shapes["scale_shift_table"] == (2, 24)
    with pytest.raises(UserError, match="another network"):
        to_latte(theirs.state_dict(), {})
    zero = diffusers.LatteTransformer3DModel(
        **sizes, caption_channels=7, norm_type="ada_norm_zero", num_embeds_ada_norm=5
    )
    with pytest.raises(AssertionError, match="Timesteps should be a 1d-array"):
        zero(torch.zeros(1, 3, 16, 6, 6), timestep=torch.zeros(1), encoder_hidden_states=torch.zeros(1, 4, 7))


def test_a_dry_run_reads_no_weights() -> None:
    options = LatteOptions(hidden_size=8, depth=1, num_heads=2, from_pretrained="nowhere.safetensors")
    with torch.device("meta"):
        assert build(options, Context(load_weights=False)).pos_embed_spatial.is_meta
    with pytest.raises(UserError, match="nowhere"):
        build(options, Context())


def test_classes_and_a_text_encoder_of_features_do_not_meet() -> None:
    options = LatteOptions(hidden_size=24, depth=2, num_heads=3, condition="label_5")
    with pytest.raises(UserError, match=r"label_5, which takes classes, .* captions of width 7; use a text encoder"):
        build(options, Context(latent_size=(1, 4, 4), text_width=7, text_length=3))
