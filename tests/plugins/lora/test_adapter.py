"""LoRA on every family of models: what is trained, what it adds, what stays when it is folded in."""

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import vidgen
from adapted import SMALL, model_of, moved, predicted
from attrs import evolve
from safetensors.torch import load_file, save_file
from torch import nn
from vidgen import RunError, UserError
from vidgen.testing import assert_conforms, tiny_context
from vidgen_lora import LoraOptions, adapter


def lora(**options: Any) -> Any:
    return vidgen.build("adapter", "lora", **options)


def is_matrix(name: str) -> bool:
    return "lora_" in name


def kept(one: Any, model: nn.Module, folder: Path) -> Path:
    """What a checkpoint holds of an adapter."""
    folder.mkdir()
    state = model.state_dict()
    save_file(
        {name: state[own].clone() for own, name in one.own_names(model).items()}, folder / "adapter_model.safetensors"
    )
    (folder / "adapter_config.json").write_text(json.dumps(one.config()))
    return folder


@pytest.mark.parametrize(
    "options", [{}, {"rank": 3, "alpha": 5.0, "dropout": 0.5}, {"bias": "all"}, {"targets": ["blocks.*"]}]
)
def test_it_keeps_what_every_adapter_promises(options: dict[str, Any]) -> None:
    assert_conforms("adapter", "lora", **options)


@pytest.mark.parametrize("name", SMALL)
def test_a_fresh_one_changes_no_prediction_of_any_model(name: str) -> None:
    model = model_of(name)
    before = predicted(model)
    lora(rank=3).apply(model)
    torch.testing.assert_close(predicted(model), before, rtol=0, atol=0)


@pytest.mark.parametrize("name", SMALL)
def test_folded_in_it_gives_the_same_predictions_as_beside(name: str, tmp_path: Path) -> None:
    model, plain = model_of(name), list(model_of(name).state_dict())
    one = lora(rank=3, alpha=5.0)
    one.apply(model)
    without = predicted(model)
    moved(model, "matrices", is_matrix)
    beside = predicted(model)
    assert not torch.allclose(beside, without, atol=1e-2)
    one.merge(model)
    torch.testing.assert_close(predicted(model), beside, rtol=1e-5, atol=1e-5)
    assert list(model.state_dict()) == plain and not hasattr(model, "peft_config")


def test_it_adds_alpha_over_rank_times_the_product() -> None:
    """h = W x + alpha / r B A x (arXiv 2106.09685, section 4.1)."""
    model, x = model_of(), torch.randn(2, 5, 24)
    lora(rank=3, alpha=6.0, targets=["blocks.0.attn.proj"]).apply(model)
    moved(model, "matrices", is_matrix)
    layer = model.blocks[0].attn.proj
    a, b = layer.lora_A["lora0"].weight, layer.lora_B["lora0"].weight
    assert a.shape == (3, 24) and b.shape == (24, 3)
    torch.testing.assert_close(layer(x), layer.base_layer(x) + 2.0 * x @ a.T @ b.T)


def test_only_its_matrices_are_trained_and_those_of_attention_layers_alone() -> None:
    model = model_of()
    lora(rank=3).apply(model)
    trained = {name.split(".lora_")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split(".", 2)[2] for name in trained} == {
        *("attn.qkv", "attn.proj", "attn_temp.qkv", "attn_temp.proj"),
        *("cross_attn.q_linear", "cross_attn.kv_linear", "cross_attn.proj"),
    }


@pytest.mark.parametrize("bias", ["none", "lora_only", "all"])
def test_biases_are_trained_where_it_is_asked_for(bias: str) -> None:
    model = model_of()
    one = lora(rank=3, targets=["blocks.0.attn.qkv"], bias=bias)
    one.apply(model)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    every = {name for name, _ in model.named_parameters() if name.endswith(".bias")}
    assert set(one.own_names(model)) == trained
    assert {name for name in trained if not is_matrix(name)} == {
        "none": set(),
        "lora_only": {"blocks.0.attn.qkv.base_layer.bias"},
        "all": every,
    }[bias]


def test_a_pattern_that_fits_no_layer_is_refused() -> None:
    with pytest.raises(UserError, match=r"targets: no linear layer fits '\*\.qvk'\. The nearest are .*qkv"):
        lora(targets=["*.qvk"]).apply(model_of())


def test_a_model_without_attention_asks_for_targets() -> None:
    with pytest.raises(UserError, match="Sequential has no linear layers inside attention layers: say which"):
        lora().apply(nn.Sequential(nn.Linear(2, 3)))


@pytest.mark.parametrize("bias", ["none", "lora_only", "all"])
def test_what_is_kept_by_itself_makes_the_same_of_another_copy(tmp_path: Path, bias: str) -> None:
    model, other = model_of(), model_of()
    one = lora(rank=3, alpha=5.0, targets=["*.qkv", "blocks.1.*proj"], bias=bias)
    one.apply(model)
    moved(model, "matrices", lambda name: name in one.own_names(model))
    folder = kept(one, model, tmp_path / "kept")
    again = lora(from_pretrained=str(folder))
    again.apply(other)
    torch.testing.assert_close(predicted(other), predicted(model))
    assert again.own_names(other) == one.own_names(model) or bias != "none"
    assert {name for name, p in other.named_parameters() if p.requires_grad} == set(one.own_names(model))


def test_in_a_dry_run_its_shape_is_taken_and_no_weights(tmp_path: Path) -> None:
    model, other = model_of(), model_of()
    one = lora(rank=3)
    one.apply(model)
    moved(model, "matrices", is_matrix)
    folder = kept(one, model, tmp_path / "kept")
    dry = adapter.build(LoraOptions(from_pretrained=str(folder)), evolve(tiny_context(), load_weights=False))
    dry.apply(other)
    assert other.state_dict().keys() == model.state_dict().keys()
    assert not any(p.any() for name, p in other.named_parameters() if "lora_B" in name)


def test_peft_itself_reads_what_is_kept(tmp_path: Path) -> None:
    model = model_of()
    one = lora(rank=3, alpha=5.0)
    one.apply(model)
    moved(model, "matrices", is_matrix)
    folder = kept(one, model, tmp_path / "kept")
    theirs = peft.PeftModel.from_pretrained(model_of(), str(folder))
    torch.testing.assert_close(predicted(theirs.get_base_model()), predicted(model))


@pytest.mark.parametrize("by_root", [False, True])
def test_what_peft_wrote_is_read(tmp_path: Path, by_root: bool) -> None:
    """With ranks of their own for some layers, and either way of scaling."""
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=["qkv", "fc1"], rank_pattern={"fc1": 2}, bias="lora_only", use_rslora=by_root
    )
    theirs = peft.get_peft_model(model_of(), config)
    moved(theirs, "matrices", lambda name: is_matrix(name) or name.endswith("qkv.base_layer.bias"))
    theirs.save_pretrained(str(tmp_path / "theirs"))
    model = model_of()
    lora(from_pretrained=str(tmp_path / "theirs")).apply(model)
    torch.testing.assert_close(predicted(model), predicted(theirs.get_base_model()))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rank": 3}, None),
        ({"rank": 3, "alpha": 7.0, "dropout": 0.5, "bias": "all", "merge": True}, None),
        ({"rank": 5}, ("rank", "5", "3")),
        ({"rank": 3, "targets": ["*.qkv"]}, ("targets", "4 layers", "14 layers (blocks.0.attn.proj among them)")),
        (
            {"rank": 3, "targets": ["*attn*", "blocks.0.mlp.fc1"]},
            ("targets", "15 layers (blocks.0.mlp.fc1 among them)", "14 layers"),
        ),
    ],
)
def test_what_does_not_fit_a_kept_one_is_told_by_its_option(options: dict[str, Any], told: Any) -> None:
    before, one = lora(rank=3), lora(**options)
    for adapter_ in (before, one):
        adapter_.apply(model_of())
    assert one.misfit(json.loads(json.dumps(before.config()))) == told


def test_what_does_not_fit_is_told_of_an_adapter_from_files_and_of_another_kind(tmp_path: Path) -> None:
    """Ranks may differ from layer to layer; of a configuration that cannot be read nothing is said."""
    config = peft.LoraConfig(r=4, target_modules=["qkv", "fc1"], rank_pattern={"fc1": 2})
    peft.get_peft_model(model_of(), config).save_pretrained(str(tmp_path))
    given, fresh = lora(from_pretrained=str(tmp_path)), lora(rank=4, targets=["*.qkv", "*.fc1"])
    for one in (given, fresh):
        one.apply(model_of())
    assert given.misfit(given.config()) is None
    assert given.misfit(fresh.config()) == ("from_pretrained", "rank 2 and 4", "rank 4")
    assert fresh.misfit(given.config()) == ("rank", "4", "2 and 4")
    assert fresh.misfit({"peft_type": "LOHA"}) == ("type", "lora", "LOHA") and fresh.misfit({}) is None


def test_several_add_up_and_each_is_folded_in_by_itself(tmp_path: Path) -> None:
    folders = []
    for number, targets in enumerate((["*.qkv"], ["*attn*"])):
        model = model_of()
        one = lora(rank=2 + number, targets=targets)
        one.apply(model)
        moved(model, f"matrices {number}", is_matrix)
        folders.append(str(kept(one, model, tmp_path / f"kept{number}")))
    both, model = [lora(from_pretrained=folder) for folder in folders], model_of()
    for one in both:
        one.apply(model)
    owned = [set(one.own_names(model)) for one in both]
    assert owned[0] and owned[1] and not owned[0] & owned[1]
    together = predicted(model)
    for number in (1, 0):
        both[number].merge(model)
        torch.testing.assert_close(predicted(model), together, rtol=1e-5, atol=1e-5)
    assert model.state_dict().keys() == model_of().state_dict().keys()
    alone = model_of()
    for folder in reversed(folders):
        one = lora(from_pretrained=folder)
        one.apply(alone)
        one.merge(alone)
    torch.testing.assert_close(predicted(alone), together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "refusal"),
    [
        (
            lambda s: s | {"base_model.model.blocks.0.attn.qkv.lora_magnitude_vector": torch.ones(3)},
            "no part of a LoRA",
        ),
        (lambda s: {"blocks.0.attn.qkv.bias": torch.ones(3)}, "holds no LoRA"),
        (lambda s: {name.replace("blocks.1", "blocks.7"): one for name, one in s.items()}, "STDiT has not: blocks.7"),
        (lambda s: {name: one[:, :1].clone() for name, one in s.items()}, r"is of another model than STDiT: .*lora_A"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, spoil: Any, refusal: str) -> None:
    model = model_of()
    one = lora(rank=3)
    one.apply(model)
    folder = kept(one, model, tmp_path / "kept")
    save_file(spoil(load_file(folder / "adapter_model.safetensors")), folder / "adapter_model.safetensors")
    with pytest.raises(UserError, match=refusal):
        lora(from_pretrained=str(folder)).apply(model_of())


@pytest.mark.parametrize(
    ("config", "refusal"),
    [
        ("{", "is damaged"),
        ("{}", "is not of a LoRA: it has no number `lora_alpha`"),
        ('{"lora_alpha": 2, "use_dora": true}', "asks for use_dora, which is not supported"),
    ],
)
def test_a_configuration_that_cannot_be_followed_is_refused(tmp_path: Path, config: str, refusal: str) -> None:
    model = model_of()
    one = lora(rank=3)
    one.apply(model)
    folder = kept(one, model, tmp_path / "kept")
    (folder / "adapter_config.json").write_text(config)
    with pytest.raises((UserError, RunError), match=refusal):
        lora(from_pretrained=str(folder))


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"adapters: no adapter in .*: looked for adapter_config\.json there and in"):
        lora(from_pretrained=str(tmp_path))
