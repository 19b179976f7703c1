"""Weights from files: released folders, own ones, T2V into Inpaint, strangers'."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_opensora_plan import InpaintOptions, T2VOptions, inpaint
from vidgen_opensora_plan.t2v import build

MODELS = {"t2v": (T2VOptions, build), "inpaint": (InpaintOptions, inpaint.build)}
Make = Callable[..., nn.Module]
Batch = dict[str, Tensor]
CONFIG = {
    **{"_class_name": "OpenSoraT2V_v1_3", "_diffusers_version": "0.30.2", "num_layers": 4, "num_attention_heads": 3},
    **{"attention_head_dim": 12, "in_channels": 3, "out_channels": 3, "caption_channels": 7, "cross_attention_dim": 36},
    **{"patch_size": 2, "patch_size_t": 1, "sparse1d": True, "sparse_n": 2, "interpolation_scale_t": 2.0},
    **{"sample_size_h": 44, "sample_size_w": 80, "sample_size_t": 24, "attention_bias": True, "dropout": 0.0},
    **{"norm_elementwise_affine": True, "norm_eps": 1e-6, "activation_fn": "geglu", "only_cross_attention": False},
}


def released(model: nn.Module, folder: Path, **changes: Any) -> str:
    """A folder in the form of diffusers."""
    save_file(model.state_dict(), folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    return str(folder)


def test_a_released_folder_says_all_options(lively: Make, batch: Batch, tmp_path: Path) -> None:
    trained = lively(sparse_n=2, interpolation_scale_t=2.0, norm_elementwise_affine=True, activation_fn="geglu")
    options = T2VOptions(from_pretrained=released(trained, tmp_path))
    loaded = build(options, Context(text_width=7)).eval()
    assert torch.equal(loaded(**batch), trained(**batch))
    assert (loaded.options.sparse_n, loaded.latent_channels) == (2, 3)


def test_what_the_recipe_says_stays(lively: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained = lively(norm_elementwise_affine=True, activation_fn="geglu")
    with caplog.at_level(logging.WARNING, logger="vidgen"):
        loaded = build(T2VOptions(from_pretrained=released(trained, tmp_path), sparse_n=3), Context())
    assert loaded.options.sparse_n == 3
    assert "config.json says sparse_n: 2; the recipe's 3 is taken" in caplog.text


def test_a_configuration_that_this_model_lacks_is_refused(lively: Make, tmp_path: Path) -> None:
    trained = lively(norm_elementwise_affine=True)
    with pytest.raises(UserError, match="activation_fn is 'swish'"):
        build(T2VOptions(from_pretrained=released(trained, tmp_path, activation_fn="swish")), Context())


def test_another_models_configuration_says_nothing(lively: Make, fresh: Make, tmp_path: Path) -> None:
    folder = released(lively(), tmp_path, _class_name="OpenSoraT2V", num_layers=7)
    assert fresh(from_pretrained=folder).options.sparse_n == 4


def test_own_weights_come_back_for_clips_of_another_size(lively: Make, fresh: Make, tmp_path: Path) -> None:
    trained = lively("inpaint")
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    loaded = fresh("inpaint", from_pretrained=str(tmp_path / "model.safetensors"))
    for name, value in trained.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_text_to_video_weights_begin_an_inpainting_model(
    lively: Make, fresh: Make, batch: Batch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = lively()
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    with caplog.at_level(logging.INFO, logger="vidgen"):
        loaded = fresh("inpaint", from_pretrained=str(tmp_path))
    assert torch.equal(loaded(**batch), trained(**batch))
    shown = loaded.pos_embed_masked_hidden_states
    assert torch.equal(shown[0].proj.weight, trained.pos_embed.proj.weight)
    assert torch.equal(shown[0].proj.bias, trained.pos_embed.proj.bias)
    assert not shown[1].weight.any()
    assert "converted from OpenSoraT2V_v1_3" in caplog.text
    with torch.no_grad():  # the copy is one: training the one leaves the other
        shown[0].proj.weight.zero_()
    assert loaded.pos_embed.proj.weight.any()


def test_weights_of_another_width_are_taken_as_far_as_allowed(lively: Make, fresh: Make, tmp_path: Path) -> None:
    save_file(lively(num_layers=5).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"not in the model.*transformer_blocks\.4\."):
        fresh(from_pretrained=str(tmp_path))
    loaded = fresh(from_pretrained=str(tmp_path), allow_partial=["*"])
    assert torch.equal(loaded.proj_out.weight, lively(num_layers=5).proj_out.weight)


def test_an_inpainting_models_weights_are_no_text_to_video_models(lively: Make, fresh: Make, tmp_path: Path) -> None:
    save_file(lively("inpaint").state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"not in the model \(6\): pos_embed_mask"):
        fresh(from_pretrained=str(tmp_path))


@pytest.mark.parametrize("name", ["t2v", "inpaint"])
def test_what_is_written_can_be_read_again(lively: Make, batch: Batch, tmp_path: Path, name: str) -> None:
    trained = lively(name, sparse_n=3, interpolation_scale_w=0.75, class_dropout_prob=0.4)
    save_file(trained.state_in("diffusers"), tmp_path / "diffusion_pytorch_model.safetensors")
    told = trained.config_in("diffusers")
    (tmp_path / "config.json").write_text(json.dumps(told))
    kind, build_any = MODELS[name]
    loaded = build_any(kind(from_pretrained=str(tmp_path)), Context()).eval()
    assert torch.equal(loaded(**batch), trained(**batch))
    assert told["_class_name"] == f"OpenSora{name.title() if name == 'inpaint' else 'T2V'}_v1_3"
    assert told["cross_attention_dim"] == 36
    assert not {"class_dropout_prob", "from_pretrained", "allow_partial"} & set(told)


def test_there_is_one_layout_to_write(fresh: Make) -> None:
    for ask in (fresh().state_in, fresh().config_in):
        with pytest.raises(UserError, match="are written as diffusers, not 'original'"):
            ask("original")
