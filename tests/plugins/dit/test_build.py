"""Building DiT: names, sizes from the recipe, start values, weights from files."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_dit import DiTOptions, vidgen_models
from vidgen_dit.model import DiT, build
from vidgen_dit.weights import to_dit

Make = Callable[..., DiT]
COMPONENTS = {component.name: component for component in vidgen_models()}


def test_the_published_sizes_are_offered() -> None:
    published = {f"DiT-{size}/{patch}" for size in ("XL", "L", "B", "S") for patch in (2, 4, 8)}
    assert set(COMPONENTS) == {"DiT", "DiT-XL/2x2"} | published


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("DiT-XL/2", {"condition": "label_1000", "input_size": (1, 32, 32)}, 674_834_720),
        ("DiT-XL/2", {}, 675_600_800),
        ("DiT-S/2", {}, 32_825_504),
        ("DiT-B/4", {"condition": "label_1000"}, 130_426_496),
    ],
)
def test_sizes_are_those_of_the_published_models(name: str, options: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        model = build(COMPONENTS[name].options(**options), Context(load_weights=False))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_an_image_model_has_the_published_entries_in_both_layouts(fresh: Make, still: dict[str, Any]) -> None:
    model = fresh(**still)
    original = {name: tuple(value.shape) for name, value in model.state_in("original").items()}
    assert original["pos_embed"] == (1, 9, 24)
    assert original["x_embedder.proj.weight"] == (24, 3, 2, 2)
    assert original["y_embedder.embedding_table.weight"] == (6, 24)
    assert len(original) == 2 + 1 + 4 + 1 + 2 * 10 + 4
    diffusers = model.state_in("diffusers")
    assert diffusers["transformer_blocks.1.norm1.emb.class_embedder.embedding_table.weight"].shape == (6, 24)
    assert len({value.data_ptr() for value in diffusers.values()}) == len(diffusers) == 2 + 4 + 2 * (5 + 2 + 8 + 4)


def test_sizes_come_from_the_rest_of_the_recipe() -> None:
    context = Context(latent_channels=5, latent_size=(3, 4, 6), text_width=9, text_length=2)
    model = build(DiTOptions(hidden_size=8, depth=1, num_heads=2, model_max_length=77), context)
    assert (model.latent_channels, model.size, model.grid) == (5, (3, 4, 6), (3, 2, 3))
    assert (model.text_width, model.y_embedder.y_embedding.shape) == (9, (1, 9))
    assert model.conditioning == {"y", "mask", "drop_caption"}
    assert model.repeated_blocks() == [model.blocks[0]]


def test_sizes_have_defaults_when_built_alone() -> None:
    model = build(DiTOptions(hidden_size=8, depth=1, num_heads=2), Context())
    assert (model.latent_channels, model.size, model.text_width) == (4, (16, 32, 32), 512)


def test_a_model_of_classes_does_not_mind_the_width_of_captions() -> None:
    options = DiTOptions(hidden_size=8, depth=1, num_heads=2, condition="label_5", caption_channels=4)
    assert build(options, Context(text_width=0)).text_width == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 4}, "in_channels is 4, but the autoencoder gives 3"),
        ({"caption_channels": 8}, "caption_channels is 8, but the text encoder gives 7"),
        ({"patch_size": (2, 2, 2)}, r"\[5, 6, 14\] .* patches of \[2, 2, 2\]; \[4, 6, 14\] would"),
        ({"hidden_size": 30}, "hidden_size is 30; it has to be a multiple of 4"),
        ({"num_heads": 5}, "hidden_size is 24; .* of num_heads, 5"),
        ({"condition": "pictures"}, "condition is 'pictures'; it can be text, or label_<K>"),
        ({"condition": "label_many"}, "condition is 'label_many', which does not say how many classes"),
        ({"condition": "label_0"}, "condition is 'label_0'"),
    ],
)
def test_options_that_contradict_are_refused(fresh: Make, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh(**options)


def test_the_number_of_classes_stands_at_the_end(fresh: Make, still: dict[str, Any]) -> None:
    assert fresh(**{**still, "condition": "labels_of_2024_7"}).y_embedder.classes == 7


def test_a_new_model_returns_zeros(fresh: Make, batch: dict[str, Tensor]) -> None:
    assert torch.equal(fresh()(**batch), torch.zeros(2, 6, 5, 6, 14))


def test_start_values_have_their_distributions(fresh: Make) -> None:
    state = fresh(hidden_size=96, num_heads=4, caption_channels=7).state_dict()
    xavier = {
        "x_embedder.proj.weight": (6 / (3 * 4 + 96)) ** 0.5,
        "blocks.1.attn.qkv.weight": (6 / (96 + 288)) ** 0.5,
        "blocks.1.attn.proj.weight": (6 / (96 + 96)) ** 0.5,
        "blocks.0.mlp.fc1.weight": (6 / (96 + 384)) ** 0.5,
    }
    for name, bound in xavier.items():
        assert 0.9 * bound < state[name].abs().max() <= bound, name
        assert state[name].std() == pytest.approx(bound / 3**0.5, rel=0.15), name
    for name in ("t_embedder.mlp.0", "t_embedder.mlp.2", "y_embedder.y_proj.fc1", "y_embedder.y_proj.fc2"):
        assert state[f"{name}.weight"].std() == pytest.approx(0.02, rel=0.1), name
    assert state["y_embedder.y_embedding"].std() == pytest.approx(7**-0.5, rel=0.4)
    classes = fresh(condition="label_40").state_dict()["y_embedder.embedding_table.weight"]
    assert classes.std() == pytest.approx(1, rel=0.1)
    zero = [name for name, value in state.items() if not value.any()]
    modulation = {f"{part}.adaLN_modulation.1.weight" for part in ("blocks.0", "blocks.1", "final_layer")}
    assert {name for name in zero if not name.endswith("bias")} == {*modulation, "final_layer.linear.weight"}
    assert [name for name in state if name.endswith("bias") and name not in zero] == []


def test_start_values_depend_on_the_seed_alone() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed + 100)
        options = DiTOptions(hidden_size=8, depth=1, num_heads=2)
        return build(options, Context(seed=seed, text_width=3)).blocks[0].attn.qkv.weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_position_tables_put_the_column_first_and_all_sines_before_the_cosines(fresh: Make) -> None:
    model = fresh()  # grid of 5 frames, 3 rows, 7 columns; width 24
    row, column = 2, 5
    place, frames = model.pos_embed_spatial[0, row * 7 + column], model.pos_embed_temporal[0]
    assert place[1] == pytest.approx(torch.sin(torch.tensor(column * 10000 ** (-1 / 6))).item(), abs=1e-6)
    assert place[6 + 2] == pytest.approx(torch.cos(torch.tensor(column * 10000 ** (-2 / 6))).item(), abs=1e-6)
    assert place[12 + 3] == pytest.approx(torch.sin(torch.tensor(row * 10000 ** (-3 / 6))).item(), abs=1e-6)
    assert frames[3, 12] == pytest.approx(torch.cos(torch.tensor(3.0)).item(), abs=1e-6)
    assert frames[0].tolist() == [0.0] * 12 + [1.0] * 12  # not neutral


def same_parameters(one: DiT, other: DiT) -> list[str]:
    """Names of parameters whose values are equal."""
    return [name for name, value in one.named_parameters() if torch.equal(value, other.state_dict()[name])]


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_weights_go_out_and_come_back(
    lively: Make, fresh: Make, still: dict[str, Any], tmp_path: Path, layout: str
) -> None:
    trained = lively(**still)
    save_file(trained.state_in(layout), tmp_path / "model.safetensors")
    model = fresh(**still, from_pretrained=str(tmp_path / "model.safetensors"))
    assert same_parameters(trained, model) == [name for name, _ in trained.named_parameters()]


def test_the_averaged_weights_of_the_original_trainer_are_taken(
    lively: Make, fresh: Make, still: dict[str, Any], tmp_path: Path
) -> None:
    averaged = lively(**still).state_in("original")
    other = {name: torch.zeros_like(value) for name, value in averaged.items()}
    torch.save({"model": other, "ema": averaged, "opt": {}, "args": Namespace(lr=1e-4)}, tmp_path / "0100000.pt")
    model = fresh(**still, from_pretrained=str(tmp_path / "0100000.pt"))
    assert torch.equal(model.blocks[1].attn.qkv.weight, averaged["blocks.1.attn.qkv.weight"])


def test_image_weights_fill_a_video_model_of_another_size(
    lively: Make, fresh: Make, still: dict[str, Any], tmp_path: Path
) -> None:
    trained = lively(**still)
    torch.save(trained.state_in("original"), tmp_path / "image.pt")
    model = fresh(condition="label_5", from_pretrained=str(tmp_path / "image.pt"))
    assert model.pos_embed_spatial.shape == (1, 21, 24)
    assert torch.equal(model.pos_embed_spatial, fresh().pos_embed_spatial)
    assert len(same_parameters(trained, model)) == len(list(trained.parameters()))


def test_a_model_of_captions_takes_all_but_the_classes(
    lively: Make, fresh: Make, still: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = lively(**still)
    torch.save(trained.state_in("original"), tmp_path / "image.pt")
    with caplog.at_level("INFO", logger="vidgen"):
        model = fresh(from_pretrained=str(tmp_path / "image.pt"))
    start = fresh()
    for name, value in model.state_dict().items():
        kept = name.startswith(("y_embedder", "pos_embed"))
        assert torch.equal(value, (start if kept else trained).state_dict()[name]), name
    assert "converted from the original image model" in caplog.text
    assert "y_embedder.embedding_table" in caplog.text


def test_own_weights_come_back_at_another_clip_size(lively: Make, tmp_path: Path) -> None:
    trained = lively()
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    options = DiTOptions(hidden_size=24, depth=2, num_heads=3, from_pretrained=str(tmp_path))
    longer = build(options, Context(latent_channels=3, latent_size=(1, 4, 4), text_width=7, seed=2))
    assert longer.pos_embed_spatial.shape == (1, 4, 24)
    assert len(same_parameters(trained, longer)) == len(list(trained.parameters()))


def test_weights_that_do_not_fit_are_refused(lively: Make, fresh: Make, still: dict[str, Any], tmp_path: Path) -> None:
    image = lively(**still).state_in("original")
    path = tmp_path / "image.pt"
    torch.save(image, path)
    with pytest.raises(
        UserError, match=r"x_embedder\.proj\.weight: \(24, 3, 1, 2, 2\) in the file, \(24, 3, 2, 2, 2\)"
    ):
        fresh(condition="label_5", input_size=(2, 6, 6), patch_size=(2, 2, 2), from_pretrained=str(path))
    with pytest.raises(UserError, match=r"embedding_table\.weight: \(6, 24\) in the file, \(8, 24\) in the model"):
        fresh(**{**still, "condition": "label_7"}, from_pretrained=str(path))
    torch.save({name: value for name, value in image.items() if "final_layer.linear" not in name}, path)
    with pytest.raises(UserError, match=r"not in the file \(2\): final_layer\.linear\.weight"):
        fresh(**still, from_pretrained=str(path))


def test_weights_of_diffusers_with_an_embedder_for_each_block_are_refused(lively: Make, still: dict[str, Any]) -> None:
    model = lively(**still)
    state = model.state_in("diffusers")
    state["transformer_blocks.1.norm1.emb.timestep_embedder.linear_1.bias"][0] += 1
    with pytest.raises(UserError, match=r"transformer_blocks\.1\.norm1.* differs from the first block's"):
        to_dit(state, model.state_dict())


def test_the_configuration_beside_diffusers_weights_is_taken(
    lively: Make, still: dict[str, Any], tmp_path: Path
) -> None:
    trained = lively(**still)
    save_file(trained.state_in("diffusers"), tmp_path / "diffusion_pytorch_model.safetensors")
    told = {"num_layers": 2, "num_attention_heads": 3, "attention_head_dim": 8, "in_channels": 3, "out_channels": 6}
    told |= {"patch_size": 2, "num_embeds_ada_norm": trained.y_embedder.classes, "_class_name": "DiTTransformer2DModel"}
    (tmp_path / "config.json").write_text(json.dumps(told))
    model = build(DiTOptions(from_pretrained=str(tmp_path), input_size=trained.size, in_channels=3), Context())
    for name, value in trained.named_parameters():
        assert torch.equal(model.get_parameter(name), value), name


@pytest.mark.parametrize(
    ("layout", "changed", "message"),
    [
        ("torch", {}, "DiT has no layout 'torch'; it has original, diffusers"),
        ("original", {"condition": "text", "caption_channels": 7}, "takes classes, not condition text"),
        ("original", {"no_temporal_pos_emb": False}, "no_temporal_pos_emb true"),
        ("original", {"input_size": (3, 6, 6)}, r"one frame, not \[3, 3, 3\]"),
        ("original", {"input_size": (1, 6, 4)}, r"a square of tokens in one frame, not \[1, 3, 2\]"),
        ("original", {"input_size": (2, 6, 6), "patch_size": (2, 2, 2)}, r"patches of one frame, not \[2, 2, 2\]"),
        ("diffusers", {"class_dropout_prob": 0.0}, "class_dropout_prob above 0"),
        ("diffusers", {"mlp_ratio": 3.0}, "an mlp_ratio of 4, not 3.0"),
    ],
)
def test_a_layout_without_a_place_for_the_model_is_refused(
    fresh: Make, still: dict[str, Any], layout: str, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        fresh(**{**still, **changed}).state_in(layout)


def test_a_dry_run_reads_no_weights() -> None:
    options = DiTOptions(hidden_size=8, depth=1, num_heads=2, from_pretrained="nowhere.safetensors")
    with torch.device("meta"):
        assert build(options, Context(load_weights=False)).pos_embed_spatial.is_meta
    with pytest.raises(UserError, match="nowhere"):
        build(options, Context())


def test_classes_and_a_text_encoder_of_features_do_not_meet() -> None:
    options = DiTOptions(hidden_size=24, depth=2, num_heads=3, condition="label_5")
    with pytest.raises(UserError, match=r"label_5, which takes classes, .* captions of width 7; use a text encoder"):
        build(options, Context(latent_size=(1, 4, 4), text_width=7, text_length=3))
