"""Building PixArt: sizes from the recipe, start values, positions, freezing."""

from collections.abc import Callable

import pytest
import torch
import vidgen_pixart
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_pixart import KvCompression, PixArtOptions
from vidgen_pixart.model import PixArt, build

Make = Callable[..., PixArt]
OPTIONS = {component.name: component.options for component in vidgen_pixart.vidgen_models()}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("PixArt-XL/2", 610_856_096),
        ("PixArtMS-XL/2", 611_349_152),  # two embedders of 384 more: 2 (257 * 384 + 385 * 384) = 493056
        ("PixArt-Sigma-XL/2", 610_856_096),
        ("PixArt-1B/2", 1_607_256_176),
    ],
)
def test_the_registered_sizes_have_their_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = build(OPTIONS[name](), Context(load_weights=False))
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.pos_embed.shape == (1, 256, model.options.hidden_size)


def test_sizes_come_from_the_rest_of_the_recipe() -> None:
    context = Context(latent_channels=5, latent_size=(3, 4, 6), text_width=9, text_length=2)
    model = build(PixArtOptions(hidden_size=8, depth=1, num_heads=2), context)
    assert (model.latent_channels, model.size, model.grid, model.text_width) == (5, (3, 4, 6), (3, 2, 3), 9)
    assert model.y_embedder.y_embedding.shape == (2, 9)
    assert model.conditioning == {"y", "mask", "drop_caption"}
    assert model.repeated_blocks() == [model.blocks[0]]


def test_only_the_model_that_is_told_sizes_asks_for_them(fresh: Make) -> None:
    assert fresh("PixArtMS").conditioning == {"y", "mask", "drop_caption", "height", "width", "ar"}
    assert fresh("PixArt_Sigma").conditioning == {"y", "mask", "drop_caption"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 4}, "in_channels is 4, but the autoencoder gives 3"),
        ({"input_size": (3, 4, 8)}, r"input_size is \[3, 4, 8\], but the autoencoder gives \[3, 4, 10\]"),
        ({"caption_channels": 8}, "caption_channels is 8, but the text encoder gives 7"),
        ({"model_max_length": 5}, "model_max_length is 5, but the text encoder gives 4"),
        ({"patch_size": (2, 2, 2)}, r"\[3, 4, 10\] .* patches of \[2, 2, 2\]; \[4, 4, 10\] would"),
        ({"hidden_size": 30}, "hidden_size is 30; it has to be a multiple of 4"),
        ({"num_heads": 5}, "hidden_size is 24; .* of num_heads, 5"),
        ({"hidden_size": 32, "num_heads": 4, "micro_condition": True}, "hidden_size is 32; .* a multiple of 3"),
        ({"base_size": 1}, "base_size is 1, less than one patch of 2 rows"),
    ],
)
def test_options_that_contradict_are_refused(fresh: Make, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh(**options)


def test_a_model_of_any_size_may_refer_its_positions_to_another_size_than_the_recipes(fresh: Make) -> None:
    assert fresh("PixArt_Sigma", input_size=(1, 8, 8)).grid == (1, 4, 4)


def test_positions_are_stretched_onto_a_square_and_divided_by_the_scales(fresh: Make) -> None:
    model = fresh(space_scale=0.5, time_scale=2.0)  # grid of 3 frames, 2 rows, 5 columns; base isqrt(10) = 3
    row, column, frame = 1, 4, 2
    at_row, at_column = row * (3 / 2) / 0.5, column * (3 / 5) / 0.5
    space, time = model.pos_embed[0, row * 5 + column], model.pos_embed_temporal[0, frame]
    assert space[1] == pytest.approx(torch.sin(torch.tensor(at_column * 10000 ** (-1 / 6))).item(), abs=1e-5)
    assert space[6 + 2] == pytest.approx(torch.cos(torch.tensor(at_column * 10000 ** (-2 / 6))).item(), abs=1e-5)
    assert space[12 + 3] == pytest.approx(torch.sin(torch.tensor(at_row * 10000 ** (-3 / 6))).item(), abs=1e-5)
    assert time[12] == pytest.approx(torch.cos(torch.tensor(frame / 2.0)).item(), abs=1e-5)


def test_a_base_size_in_latents_stretches_further(fresh: Make) -> None:
    """A base of 10 latents is 5 patches: columns lie 1 apart, rows 5 / 2."""
    model = fresh(base_size=10)
    assert model.pos_embed[0, 3, 0] == pytest.approx(torch.sin(torch.tensor(3.0)).item(), abs=1e-6)
    assert model.pos_embed[0, 5, 12] == pytest.approx(torch.sin(torch.tensor(2.5)).item(), abs=1e-6)


def test_a_new_model_returns_zeros_but_its_attention_is_open(fresh: Make, batch: dict[str, torch.Tensor]) -> None:
    model = fresh()
    assert not model(**batch).any()
    assert model.blocks[0].scale_shift_table[2].abs().min() > 0


def test_start_values_have_their_distributions(fresh: Make) -> None:
    squares = KvCompression(sampling="conv", scale_factor=2, kv_compress_layer=[1])
    model = fresh("PixArtMS", hidden_size=96, num_heads=4, qk_norm=True, kv_compress_config=squares)
    state = model.state_dict()
    bounds = {
        "x_embedder.proj.weight": (6 / (3 * 4 + 96)) ** 0.5,
        "blocks.0.attn.qkv.weight": (6 / (96 + 288)) ** 0.5,
        "blocks.1.mlp.fc1.weight": (6 / (96 + 384)) ** 0.5,
        "blocks.1.cross_attn.kv_linear.weight": (6 / (96 + 192)) ** 0.5,
        "x_embedder.proj.bias": (3 * 4) ** -0.5,
        "csize_embedder.mlp.0.weight": 256**-0.5,
        "csize_embedder.mlp.2.bias": 32**-0.5,
        "ar_embedder.mlp.2.weight": 32**-0.5,
    }
    for name, bound in bounds.items():
        assert 0.85 * bound < state[name].abs().max() <= bound, name
        assert state[name].std() == pytest.approx(bound / 3**0.5, rel=0.25), name
    for name in ("t_embedder.mlp.0", "t_embedder.mlp.2", "t_block.1", "y_embedder.y_proj.fc1", "y_embedder.y_proj.fc2"):
        assert state[f"{name}.weight"].std() == pytest.approx(0.02, rel=0.1), name
        assert not state[f"{name}.bias"].any(), name
    assert state["blocks.1.scale_shift_table"].std() == pytest.approx(96**-0.5, rel=0.15)
    assert state["y_embedder.y_embedding"].std() == pytest.approx(7**-0.5, rel=0.4)
    for layer in (model.blocks[1].cross_attn.proj, model.final_layer.linear):
        assert not layer.weight.any()
        assert not layer.bias.any()
    compressed = model.blocks[1].attn
    assert compressed.sr.weight.eq(1 / 4).all()
    assert not compressed.sr.bias.any()
    for norm in (compressed.norm, compressed.q_norm, compressed.k_norm, model.blocks[0].attn.q_norm):
        assert norm.weight.eq(1).all()


@pytest.mark.parametrize("option", ["text", None])
def test_freezing_leaves_the_named_part(fresh: Make, option: str | None) -> None:
    flags = {name: p.requires_grad for name, p in fresh(freeze=option).named_parameters()}
    assert flags == {name: option is None or "cross_attn" not in name for name in flags}


def test_a_dry_run_reads_no_weights() -> None:
    options = PixArtOptions(hidden_size=8, depth=1, num_heads=2, from_pretrained="nowhere.safetensors")
    with torch.device("meta"):
        assert build(options, Context(load_weights=False)).pos_embed.is_meta
    with pytest.raises(UserError, match="nowhere"):
        build(options, Context())
