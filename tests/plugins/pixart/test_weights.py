"""PixArt's weights in the layouts of the image models' own code and of diffusers, both ways."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_pixart import KvCompression, PixArtOptions
from vidgen_pixart.model import PixArt, build
from vidgen_pixart.weights import to_pixart

Make = Callable[..., PixArt]
Batch = dict[str, Tensor]
IMAGE = {"no_temporal_pos_emb": True, "base_size": 6}
NULL, PATCH = "y_embedder.y_embedding", "x_embedder.proj.weight"


def assert_same_parameters(one: PixArt, other: PixArt) -> None:
    for name, parameter in one.named_parameters():
        assert torch.equal(other.get_parameter(name), parameter), name


@pytest.mark.parametrize("name", ["PixArt", "PixArtMS", "PixArt_Sigma"])
@pytest.mark.parametrize("rows", [2, 4, 6])
def test_an_image_file_fills_all_and_its_null_caption_is_fitted(
    lively: Make, fresh: Make, tmp_path: Path, name: str, rows: int
) -> None:
    trained = lively(name, **IMAGE)
    published = {**trained.state_in("original"), NULL: torch.arange(7.0 * rows).view(rows, 7)}
    assert published[PATCH].shape == (24, 3, 2, 2)
    assert "pos_embed_temporal" not in published
    torch.save({"state_dict": {**published, "pos_embed": torch.zeros(1, 99, 24)}}, tmp_path / "image.pth")
    model = fresh(name, from_pretrained=str(tmp_path / "image.pth"))
    assert_same_parameters(trained, model)
    expected = published[NULL][[min(i, rows - 1) for i in range(4)]]
    assert torch.equal(model.y_embedder.y_embedding, expected)
    assert torch.equal(model.pos_embed, fresh(name).pos_embed)


def test_own_weights_come_back_at_another_clip_size(lively: Make, tmp_path: Path) -> None:
    trained = lively()
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    options = PixArtOptions(hidden_size=24, depth=2, num_heads=3, from_pretrained=str(tmp_path))
    longer = build(options, Context(latent_channels=3, latent_size=(1, 4, 4), text_width=7, text_length=4, seed=2))
    assert longer.pos_embed.shape == (1, 4, 24)
    assert_same_parameters(trained, longer)


def test_weights_of_another_model_are_refused(lively: Make, fresh: Make, tmp_path: Path) -> None:
    save_file(lively("PixArtMS", **IMAGE).state_in("original"), tmp_path / "ms.safetensors")
    with pytest.raises(UserError, match=r"not in the model \(8\): (ar|csize)_embedder\.mlp"):
        fresh(from_pretrained=str(tmp_path / "ms.safetensors"))
    save_file(lively(depth=3, **IMAGE).state_in("diffusers"), tmp_path / "deep.safetensors")
    with pytest.raises(UserError, match=r"read as diffusers.*\n.*transformer_blocks\.2\."):
        fresh(from_pretrained=str(tmp_path / "deep.safetensors"))


@pytest.mark.parametrize("layout", PixArt.layouts)
def test_what_is_written_can_be_read_again(lively: Make, fresh: Make, tmp_path: Path, layout: str) -> None:
    trained = lively("PixArtMS", **IMAGE)
    save_file(trained.state_in(layout), tmp_path / "written.safetensors")
    model = fresh("PixArtMS", **IMAGE, from_pretrained=str(tmp_path / "written.safetensors"))
    assert_same_parameters(trained, model)


@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        ("original", {}, "which has no positions of frames: set no_temporal_pos_emb"),
        ("original", {**IMAGE, "patch_size": (3, 2, 2)}, r"no patches of \[3, 2, 2\]"),
        ("original", {**IMAGE, "patch_size": (1, 2, 5)}, r"no patches of \[1, 2, 5\]"),
        ("original", {**IMAGE, "qk_norm": True}, "no normalisation of queries and keys per head"),
        ("diffusers", {**IMAGE, "qk_norm": True, "qk_norm_over": "width"}, "no normalised queries and keys"),
        (
            "diffusers",
            {**IMAGE, "kv_compress_config": KvCompression(sampling="conv", scale_factor=2, kv_compress_layer=[0])},
            "no compressed keys",
        ),
        ("jax", IMAGE, "written as original or diffusers, not 'jax'"),
    ],
)
def test_a_layout_that_lacks_a_part_is_refused(fresh: Make, layout: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh(**options).state_in(layout)


def test_the_configuration_beside_diffusers_weights_is_taken(lively: Make, tmp_path: Path) -> None:
    trained = lively("PixArtMS", space_scale=2.0, **IMAGE)
    save_file(trained.state_in("diffusers"), tmp_path / "diffusion_pytorch_model.safetensors")
    told = {"num_layers": 2, "num_attention_heads": 3, "attention_head_dim": 8, "in_channels": 3, "out_channels": 6}
    told |= {"patch_size": 2, "sample_size": 128, "caption_channels": 7, "_class_name": "Transformer2DModel"}
    (tmp_path / "config.json").write_text(json.dumps(told))
    context = Context(latent_channels=3, latent_size=(1, 4, 10), text_width=7, text_length=4)
    model = build(PixArtOptions(from_pretrained=str(tmp_path), base_size=6, any_size=True), context)
    assert_same_parameters(trained, model)
    options = model.options
    assert (options.space_scale, options.micro_condition, options.no_temporal_pos_emb) == (2.0, True, True)
    assert options.base_size == 6  # what the recipe says stays
    assert torch.equal(model.pos_embed, trained.pos_embed)


def test_every_entry_of_a_diffusers_file_has_a_place(fresh: Make) -> None:
    model = fresh("PixArtMS", **IMAGE)
    own = model.state_dict()
    converted = to_pixart({**model.state_in("diffusers"), "pos_embed.pos_embed": torch.zeros(1)}, own)
    assert set(own) - set(converted.state) == {"pos_embed", "pos_embed_temporal", NULL}
    assert set(converted.state) - set(own) == {"pos_embed.pos_embed"}
    assert "no null caption" in converted.notes[0]


def diffusers_twin(model: PixArt, side: int) -> torch.nn.Module:
    """diffusers' own class with the weights of `model`."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed, which this compares with")
    options = model.options
    twin = diffusers.PixArtTransformer2DModel(
        num_attention_heads=options.num_heads,
        attention_head_dim=options.hidden_size // options.num_heads,
        in_channels=model.latent_channels,
        out_channels=2 * model.latent_channels,
        num_layers=options.depth,
        cross_attention_dim=options.hidden_size,
        sample_size=side,
        interpolation_scale=options.space_scale,
        use_additional_conditions=options.micro_condition,
        caption_channels=model.widths.caption,
    )
    twin.load_state_dict(model.state_in("diffusers"))
    return twin.eval()


@pytest.mark.parametrize("name", ["PixArtMS", "PixArt_Sigma"])
def test_the_prediction_is_that_of_diffusers(lively: Make, batch: Batch, sizes: Batch, name: str) -> None:
    model = lively(name, space_scale=0.5, no_temporal_pos_emb=True, base_size=8)
    twin = diffusers_twin(model, side=8)
    given = {**batch, "x": batch["x"][:, :, :1]}
    info = {"resolution": torch.stack([sizes["height"], sizes["width"]], dim=1), "aspect_ratio": sizes["ar"][:, None]}
    with torch.no_grad():
        wanted = twin(
            given["x"][:, :, 0],
            encoder_hidden_states=given["y"],
            timestep=given["timestep"],
            added_cond_kwargs=info,
            encoder_attention_mask=given["mask"],
            return_dict=False,
        )[0]
        torch.testing.assert_close(model(**given, **sizes)[:, :, 0], wanted, rtol=0, atol=1e-4)


def test_weights_saved_by_diffusers_are_read(lively: Make, fresh: Make, tmp_path: Path) -> None:
    trained = lively("PixArtMS", **IMAGE)
    diffusers_twin(trained, side=6).save_pretrained(tmp_path)
    model = fresh("PixArtMS", from_pretrained=str(tmp_path))
    assert_same_parameters(trained, model)
    assert model.options.base_size == 6
