"""Building: published sizes, options, start values."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import vidgen_opensora_plan
from torch import nn
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_opensora_plan import InpaintOptions, T2VOptions, inpaint, t2v

Make = Callable[..., nn.Module]
OPTIONS = {component.name: component.options for component in vidgen_opensora_plan.vidgen_models()}


@pytest.mark.parametrize(
    ("name", "build", "parameters", "entries"),
    [
        ("OpenSoraT2V_v1_3-2B/122", t2v.build, 2_771_981_600, 687),
        ("OpenSoraInpaint_v1_3-2B/122", inpaint.build, 2_782_713_632, 693),
    ],
)
def test_the_registered_sizes_have_their_parameters(name: str, build: Any, parameters: int, entries: int) -> None:
    with torch.device("meta"):
        model = build(OPTIONS[name](), Context(load_weights=False))
    assert sum(value.numel() for value in model.parameters()) == parameters
    assert len(model.state_dict()) == entries
    assert model.patch_size == (1, 2, 2)


def test_sizes_come_from_the_rest_of_the_recipe(fresh: Make) -> None:
    model = fresh("inpaint", out_channels=6, class_dropout_prob=0.3)
    assert (model.latent_channels, model.out_channels, model.text_width, model.caption_dropout) == (3, 6, 7, 0.3)
    assert model.pos_embed_mask[0].proj.weight.shape == (36, 5, 2, 2)
    assert model.conditioning == {"y", "mask", "valid", "masked_video", "video_mask"}
    assert fresh().conditioning == {"y", "mask", "valid"}
    assert model.repeated_blocks() == list(model.transformer_blocks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 4}, "in_channels is 4, but the autoencoder gives 3"),
        ({"caption_channels": 8}, "caption_channels is 8, but the text encoder gives 7"),
        ({"attention_head_dim": 8}, "attention_head_dim is 8; it has to be a multiple of 6"),
        ({"cross_attention_dim": 24}, "cross_attention_dim is 24; .* 3 heads of 12: leave it out, or set 36"),
        ({"patch_size_t": 2}, "patch_size_t is 2; its patches are of one latent frame"),
        ({"activation_fn": "swish"}, "activation_fn is 'swish'; it can be gelu-approximate or geglu"),
    ],
)
def test_options_that_contradict_are_refused(fresh: Make, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh(**options)


def test_the_mask_has_as_many_channels_as_the_autoencoder_takes_frames_together(fresh: Make) -> None:
    with pytest.raises(UserError, match="vae_scale_factor_t is 4, but the autoencoder gives 5"):
        fresh("inpaint", vae_scale_factor_t=4)
    assert fresh("inpaint", context=Context()).frames == 4


def test_options_change_the_parts_they_name(fresh: Make) -> None:
    model = fresh(activation_fn="geglu", attention_bias=False, norm_elementwise_affine=True, norm_eps=1e-3)
    names = model.state_dict().keys()
    assert model.transformer_blocks[0].ff.net[0].proj.weight.shape == (8 * 36, 36)
    assert "transformer_blocks.0.norm1.weight" in names
    assert "transformer_blocks.3.norm2.bias" in names
    assert not any(name.endswith(("to_q.bias", "to_k.bias", "to_v.bias")) for name in names)
    assert "transformer_blocks.0.attn1.to_out.0.bias" in names
    assert model.transformer_blocks[0].norm1.eps == 1e-3


def test_start_values_have_their_distributions(fresh: Make) -> None:
    model = fresh("inpaint", num_attention_heads=8, norm_elementwise_affine=True)  # width 96
    state = model.state_dict()
    bounds = {
        "pos_embed.proj.weight": (3 * 4) ** -0.5,
        "pos_embed_mask.0.proj.bias": (5 * 4) ** -0.5,
        "transformer_blocks.1.attn1.to_q.weight": 96**-0.5,
        "transformer_blocks.1.ff.net.2.weight": (4 * 96) ** -0.5,
        "transformer_blocks.1.ff.net.0.proj.bias": 96**-0.5,
        "adaln_single.emb.timestep_embedder.linear_1.weight": 256**-0.5,
        "caption_projection.linear_1.weight": 7**-0.5,
    }
    for name, bound in bounds.items():
        assert 0.85 * bound < state[name].abs().max() <= bound, name
        assert state[name].std() == pytest.approx(bound / 3**0.5, rel=0.25), name
    assert state["transformer_blocks.2.scale_shift_table"].std() == pytest.approx(96**-0.5, rel=0.15)
    assert state["scale_shift_table"].std() == pytest.approx(96**-0.5, rel=0.25)
    zeros = [name for name, value in state.items() if not value.any() and "norm" not in name]
    assert zeros == ["pos_embed_masked_hidden_states.1.weight", "pos_embed_mask.1.weight"]
    assert state["transformer_blocks.0.norm1.weight"].eq(1).all()
    assert not state["transformer_blocks.0.norm2.bias"].any()


def test_a_dry_run_reads_no_weights() -> None:
    for kind, build in ((T2VOptions, t2v.build), (InpaintOptions, inpaint.build)):
        options = kind(num_layers=1, num_attention_heads=1, attention_head_dim=6, from_pretrained="nowhere.safetensors")
        with torch.device("meta"):
            assert build(options, Context(load_weights=False)).proj_out.weight.is_meta
        with pytest.raises(UserError, match="nowhere"):
            build(options, Context())
