"""Building STDiT: sizes from the recipe, start values, freezing, weights from files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_stdit import STDiTOptions, vidgen_models
from vidgen_stdit.stdit1 import STDiT, build
from vidgen_stdit.weights import to_stdit

Make = Callable[..., STDiT]
NAMES = Path(__file__).with_name("stdit_xl_2.json")  # entries of the published STDiT-XL/2, blocks 0 and 27 alone


def test_stdit_xl_2_has_the_entries_and_the_size_of_the_published_model() -> None:
    published = json.loads(NAMES.read_text())
    options = {component.name: component.options for component in vidgen_models()}["STDiT-XL/2"]
    with torch.device("meta"):
        model = build(options(input_size=(16, 32, 32)), Context(load_weights=False))
    own = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    inner = {name for name in own if name.startswith("blocks.") and name.split(".")[1] not in ("0", "27")}
    assert {name: shape for name, shape in own.items() if name not in inner} == published["entries"]
    assert sum(p.numel() for p in model.parameters()) == published["parameters"] == 759_620_768
    assert model.pos_embed.is_meta


def test_sizes_come_from_the_rest_of_the_recipe() -> None:
    context = Context(latent_channels=5, latent_size=(3, 4, 6), text_width=9, text_length=2)
    model = build(STDiTOptions(hidden_size=8, depth=1, num_heads=2), context)
    assert (model.latent_channels, model.size, model.grid) == (5, (3, 4, 6), (3, 2, 3))
    assert model.y_embedder.y_embedding.shape == (2, 9)
    assert model.conditioning == {"y", "mask", "x_mask", "drop_caption", "valid"}
    assert model.repeated_blocks() == [model.blocks[0]]


def test_sizes_have_defaults_when_built_alone() -> None:
    model = build(STDiTOptions(hidden_size=8, depth=1, num_heads=2), Context())
    assert (model.latent_channels, model.size) == (4, (1, 32, 32))
    assert model.y_embedder.y_embedding.shape == (120, 4096)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 4}, "in_channels is 4, but the autoencoder gives 3"),
        ({"input_size": (5, 6, 8)}, r"input_size is \[5, 6, 8\], but the autoencoder gives \[5, 6, 14\]"),
        ({"caption_channels": 8}, "caption_channels is 8, but the text encoder gives 7"),
        ({"model_max_length": 5}, "model_max_length is 5, but the text encoder gives 4"),
        ({"patch_size": (2, 2, 2)}, r"\[5, 6, 14\] .* patches of \[2, 2, 2\]; \[4, 6, 14\] would"),
        ({"patch_size": (1, 0, 2)}, r"patch_size \[1, 0, 2\]; every number has to be 1 or more"),
        ({"hidden_size": 30}, "hidden_size is 30; it has to be a multiple of 4"),
        ({"num_heads": 5}, "hidden_size is 24; .* of num_heads, 5"),
    ],
)
def test_options_that_contradict_are_refused(fresh: Make, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh(**options)


def test_a_new_model_returns_zeros(fresh: Make, batch: dict[str, torch.Tensor]) -> None:
    assert torch.equal(fresh()(**batch), torch.zeros(2, 6, 5, 6, 14))


def test_start_values_have_their_distributions(fresh: Make) -> None:
    model = fresh(hidden_size=96, num_heads=4)
    state, block = model.state_dict(), model.blocks[1]
    xavier = {
        "x_embedder.proj.weight": (6 / (3 * 4 + 96)) ** 0.5,
        "blocks.1.attn.qkv.weight": (6 / (96 + 288)) ** 0.5,
        "blocks.1.attn_temp.qkv.weight": (6 / (96 + 288)) ** 0.5,
        "blocks.1.mlp.fc1.weight": (6 / (96 + 384)) ** 0.5,
        "blocks.1.cross_attn.kv_linear.weight": (6 / (96 + 192)) ** 0.5,
        "x_embedder.proj.bias": (3 * 4) ** -0.5,
    }
    for name, bound in xavier.items():
        assert 0.9 * bound < state[name].abs().max() <= bound, name
        assert state[name].std() == pytest.approx(bound / 3**0.5, rel=0.15), name
    for name in ("t_embedder.mlp.0", "t_embedder.mlp.2", "t_block.1", "y_embedder.y_proj.fc1", "y_embedder.y_proj.fc2"):
        assert state[f"{name}.weight"].std() == pytest.approx(0.02, rel=0.1), name
        assert not state[f"{name}.bias"].any(), name
    assert state["blocks.1.scale_shift_table"].std() == pytest.approx(96**-0.5, rel=0.15)
    assert state["final_layer.scale_shift_table"].std() == pytest.approx(96**-0.5, rel=0.25)
    assert state["y_embedder.y_embedding"].std() == pytest.approx(7**-0.5, rel=0.4)
    for layer in (block.attn_temp.proj, block.cross_attn.proj, model.final_layer.linear):
        assert not layer.weight.any()
        assert not layer.bias.any()


def test_start_values_depend_on_the_seed_and_on_nothing_else() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed + 100)
        options = STDiTOptions(hidden_size=8, depth=1, num_heads=2)
        return build(options, Context(seed=seed, text_width=3)).blocks[0].attn.qkv.weight

    before = torch.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    torch.set_rng_state(before)
    build(STDiTOptions(hidden_size=8, depth=1, num_heads=2), Context(text_width=3))
    assert torch.equal(torch.get_rng_state(), before)


def test_position_tables_put_the_column_first_and_follow_the_scales(fresh: Make) -> None:
    model = fresh(space_scale=0.5, time_scale=2.0)  # grid of 5 frames, 3 rows, 7 columns; width 24
    row, column, frame = 2, 5, 3
    space, time = model.pos_embed[0, row * 7 + column], model.pos_embed_temporal[0, frame]
    assert space[1] == pytest.approx(torch.sin(torch.tensor(column / 0.5 * 10000 ** (-1 / 6))).item(), abs=1e-5)
    assert space[6 + 2] == pytest.approx(torch.cos(torch.tensor(column / 0.5 * 10000 ** (-2 / 6))).item(), abs=1e-5)
    assert space[12 + 3] == pytest.approx(torch.sin(torch.tensor(row / 0.5 * 10000 ** (-3 / 6))).item(), abs=1e-5)
    assert time[12] == pytest.approx(torch.cos(torch.tensor(frame / 2.0)).item(), abs=1e-5)


@pytest.mark.parametrize(
    ("option", "trained"),
    [
        ("not_temporal", lambda name: "attn_temp" in name),
        ("text", lambda name: "cross_attn" not in name),
        (None, lambda name: True),
    ],
)
def test_freezing_leaves_the_named_part(fresh: Make, option: str | None, trained: Callable[[str], bool]) -> None:
    flags = {name: p.requires_grad for name, p in fresh(freeze=option).named_parameters()}
    assert flags == {name: trained(name) for name in flags}


def image_state(model: STDiT, *, caption_length: int) -> dict[str, torch.Tensor]:
    """The state dict of an image model of the same width, each entry filled with its own number."""
    state = {name: tensor for name, tensor in model.state_dict().items() if ".attn_temp." not in name}
    state["x_embedder.proj.weight"] = state["x_embedder.proj.weight"][:, :, 0]
    state["y_embedder.y_embedding"] = torch.empty(caption_length, 7)
    state["pos_embed"] = torch.empty(1, 16, 24)
    del state["pos_embed_temporal"]
    return {name: torch.full(tensor.shape, i / 100) for i, (name, tensor) in enumerate(state.items())}


@pytest.mark.parametrize("caption_length", [2, 4, 6])
def test_an_image_model_fills_all_but_the_temporal_attention(fresh: Make, tmp_path: Path, caption_length: int) -> None:
    start = fresh()
    image = image_state(start, caption_length=caption_length)
    torch.save({"state_dict": image}, tmp_path / "image.pth")
    model = fresh(from_pretrained=str(tmp_path / "image.pth"))
    for name, tensor in model.state_dict().items():
        if name.startswith("pos_embed") or ".attn_temp." in name:
            assert torch.equal(tensor, start.state_dict()[name]), name
        else:
            assert torch.equal(tensor, image[name].flatten()[0].expand(tensor.shape)), name


def test_a_short_null_caption_is_lengthened_by_its_last_token(fresh: Make) -> None:
    model = fresh()
    short = torch.arange(14.0).view(2, 7)
    converted = to_stdit({**model.state_dict(), "y_embedder.y_embedding": short}, model.state_dict())
    assert torch.equal(converted.state["y_embedder.y_embedding"], short[[0, 1, 1, 1]])


def test_own_weights_come_back_at_another_clip_size(lively: Make, tmp_path: Path) -> None:
    trained = lively()
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    options = STDiTOptions(hidden_size=24, depth=2, num_heads=3, from_pretrained=str(tmp_path))
    context = Context(latent_channels=3, latent_size=(1, 4, 4), text_width=7, text_length=4, seed=2)
    longer = build(options, context)
    assert longer.pos_embed.shape == (1, 4, 24)
    for name, parameter in trained.named_parameters():
        assert torch.equal(longer.get_parameter(name), parameter), name


def test_weights_without_the_temporal_attention_are_refused_unless_of_an_image_model(
    lively: Make, fresh: Make, tmp_path: Path
) -> None:
    state = {name: tensor for name, tensor in lively().state_dict().items() if ".attn_temp." not in name}
    save_file(state, tmp_path / "cut.safetensors")
    with pytest.raises(UserError, match=r"not in the file \(8\): blocks\.0\.attn_temp\.qkv\.weight"):
        fresh(from_pretrained=str(tmp_path / "cut.safetensors"))


def test_a_dry_run_reads_no_weights() -> None:
    options = STDiTOptions(hidden_size=8, depth=1, num_heads=2, from_pretrained="nowhere.safetensors")
    with torch.device("meta"):
        assert build(options, Context(load_weights=False)).pos_embed.is_meta
    with pytest.raises(UserError, match="nowhere"):
        build(options, Context())
