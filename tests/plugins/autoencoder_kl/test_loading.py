"""Weights from folders and files, in today's and older names."""

import json

import pytest
import torch
from safetensors.torch import save_file
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context

OLDER = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def in_older_names(state):
    for now, then in OLDER.items():
        state = {
            name.replace(f".{now}.", f".{then}.") if "attentions" in name else name: value
            for name, value in state.items()
        }
    return state


def assert_loaded(vae, plain):
    loaded = vae.state_dict()
    assert loaded.keys() == {f"module.{name}" for name in plain.state_dict()}
    assert all(torch.equal(loaded[f"module.{name}"], value) for name, value in plain.state_dict().items())


@pytest.mark.parametrize("options", [{}, {"safe_serialization": False}, {"max_shard_size": "8KB"}], ids=str)
def test_a_folder_of_diffusers_is_loaded(make, plain, tmp_path, options):
    plain.save_pretrained(tmp_path, **options)
    assert_loaded(make(config={}, from_pretrained=str(tmp_path)), plain)


def test_a_folder_inside_a_pipelines_is_loaded(make, plain, tmp_path):
    plain.save_pretrained(tmp_path / "vae")
    assert_loaded(make(config={}, from_pretrained=str(tmp_path), subfolder="vae"), plain)


def test_a_file_is_loaded_into_the_shape_that_the_recipe_says(make, plain, tmp_path):
    save_file(plain.state_dict(), tmp_path / "any.safetensors")
    assert_loaded(make(from_pretrained=str(tmp_path / "any.safetensors")), plain)


def test_older_names_and_a_wrappers_prefix_are_understood(make, plain, tmp_path):
    older = in_older_names(plain.state_dict())
    assert older.keys() != plain.state_dict().keys()
    save_file({f"module.{name}": value for name, value in older.items()}, tmp_path / "older.safetensors")
    assert_loaded(make(from_pretrained=str(tmp_path / "older.safetensors")), plain)


def test_its_own_state_is_loaded_again(make, tmp_path):
    one, path = make(context=Context(seed=8)), tmp_path / "model.safetensors"
    save_file(one.state_dict(), path)
    again = make(from_pretrained=str(tmp_path)).state_dict()
    assert all(torch.equal(again[name], value) for name, value in one.state_dict().items())


def test_weights_come_in_the_type_asked_for(make, plain, tmp_path):
    plain.save_pretrained(tmp_path)
    vae = make(config={}, from_pretrained=str(tmp_path), dtype="bf16")
    assert {value.dtype for value in vae.state_dict().values()} == {torch.bfloat16}
    assert torch.equal(vae.module.encoder.conv_in.weight, plain.encoder.conv_in.weight.bfloat16())


def test_a_dry_run_reads_the_configuration_alone(make, plain, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(dict(plain.config)))
    with torch.device("meta"):
        vae = make(Context(load_weights=False), config={}, from_pretrained=str(tmp_path))
    assert all(parameter.is_meta for parameter in vae.parameters())
    assert (vae.latent_channels, vae.stride, vae.latent_size((2, 9, 8))) == (3, (1, 4, 4), (2, 2, 2))


def test_a_file_cut_short_is_told(make, plain, tmp_path):
    plain.save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"diffusion_pytorch_model\.safetensors is damaged or cut short"):
        make(config={}, from_pretrained=str(tmp_path))


def test_weights_of_another_shape_are_told_by_name(make, plain, tmp_path):
    plain.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"holds weights of another model than VideoAutoencoderKL:[\s\S]*differ"):
        make(from_pretrained=str(tmp_path), config={"block_out_channels": [6, 8, 14]})


def test_a_missing_folder_and_a_folder_without_weights_are_told(make, tmp_path):
    with pytest.raises(UserError, match=r"no weights at .*nowhere: no such file or folder"):
        make(config={}, from_pretrained=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"no weights in .*: looked for model, diffusion_pytorch_model, pytorch_model"):
        make(config={}, from_pretrained=str(tmp_path))


def test_an_id_that_is_not_in_the_cache_is_told_offline(make, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"'tiny-org/vae' is no path here, .*HF_HUB_OFFLINE is set, so only the cache"):
        make(config={}, from_pretrained="tiny-org/vae")
