"""Published layouts: folders with a description, files, trainers' checkpoints; and what does not fit."""

import json
import logging

import attrs
import pytest
import torch
from safetensors.torch import save_file
from vidgen.errors import RecipeError, RunError, UserError
from vidgen.interfaces import Context
from vidgen_wfvae import FourOptions, NetworkOptions, WFVAEOptions
from vidgen_wfvae.build import build


@pytest.fixture
def other(make):
    """Another autoencoder's entries."""
    return {name: value.clone() for name, value in make(Context(seed=8)).state_dict().items()}


@pytest.fixture
def config(options):
    """The description of the tiny autoencoder, as published ones are written."""
    keys = attrs.asdict(options(), filter=lambda field, value: field.name in attrs.fields_dict(NetworkOptions))
    return {"_class_name": "WFVAEModel", "_diffusers_version": "0.30.2", **keys}


@pytest.fixture
def folder(tmp_path, other, config):
    """A published folder."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(other, tmp_path / "diffusion_pytorch_model.safetensors")
    return tmp_path


def assert_equal(vae, state):
    loaded = vae.state_dict()
    assert loaded.keys() == state.keys()
    assert not [name for name, value in state.items() if not torch.equal(loaded[name], value)]


def loaded(folder, **keys):
    return build(WFVAEOptions(from_pretrained=str(folder), **keys), Context())


def test_a_folder_says_of_what_shape_it_is(folder, other):
    vae = loaded(folder)
    assert_equal(vae, other)
    assert vae.scale.flatten().tolist() == [0.5, 2.0, 1.5]
    assert vae.shift.flatten().tolist() == pytest.approx([0.1, -0.2, 0.3])


def test_a_key_that_the_recipe_sets_wins_and_a_preset_does_not(folder, other):
    assert loaded(folder, scale=3.0).scale.item() == 3.0
    assert_equal(build(FourOptions(from_pretrained=str(folder)), Context()), other)


def test_a_subfolder_is_found(folder, other):
    assert_equal(loaded(folder.parent, subfolder=folder.name), other)


def test_a_dry_run_reads_the_description_alone(folder, config):
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    with torch.device("meta"):
        vae = build(WFVAEOptions(from_pretrained=str(folder)), Context(load_weights=False))
    assert vae.latent_channels == 3
    assert all(value.is_meta for value in vae.state_dict().values())


def test_equal_numbers_for_channels_that_there_are_not_are_one_number(folder, config):
    """Descriptions have the eight of the default, whatever latent_dim is."""
    (folder / "config.json").write_text(json.dumps({**config, "scale": [0.25] * 8, "shift": [0] * 8}))
    assert (loaded(folder).scale.item(), loaded(folder).shift.item()) == (0.25, 0.0)


def test_filters_of_a_file_are_not_taken(folder, other):
    """They may be rounded, and are never learned."""
    name = "decoder.inverse_wavelet_tranform_l2.g"
    kept = {key: value for key, value in other.items() if "wavelet_tranform_l1" not in key}
    save_file({**kept, name: torch.zeros(1, 1, 2, 2, 2)}, folder / "diffusion_pytorch_model.safetensors")
    assert_equal(loaded(folder), other)


@pytest.fixture
def checkpoint(folder):
    """Put a trainer's checkpoint in the place of the weights; returns its path."""

    def put(content, name="merged.ckpt"):
        (folder / "diffusion_pytorch_model.safetensors").unlink(missing_ok=True)
        torch.save(content, folder / name)
        return folder / name

    return put


def test_a_trainers_checkpoint_is_read(folder, checkpoint, other):
    critic = {"conv.weight": torch.zeros(2)}
    path = checkpoint({"epoch": 3, "state_dict": {"gen_model": other, "dics_model": critic}, "ema_state_dict": {}})
    assert_equal(loaded(folder), other)
    keys = {**json.loads((folder / "config.json").read_text()), "scale": (0.5, 2.0, 1.5), "shift": (0.1, -0.2, 0.3)}
    shape = {key: value for key, value in keys.items() if not key.startswith("_")}
    assert_equal(loaded(path, **shape), other)


@pytest.mark.parametrize("wrapped", [lambda state: state, lambda state: {"state_dict": state}], ids=["bare", "plain"])
def test_simpler_checkpoints_are_read(folder, checkpoint, other, wrapped):
    checkpoint(wrapped(other))
    assert_equal(loaded(folder), other)


def test_averaged_weights_are_taken_where_there_are_any(folder, checkpoint, other):
    plain = {name: torch.zeros_like(value) for name, value in other.items()}
    averaged = {f"module.{name}": value for name, value in other.items()}
    checkpoint({"state_dict": {"gen_model": plain}, "ema_state_dict": averaged})
    assert_equal(loaded(folder), other)


def test_loaded_filters_stay_fixed(folder, checkpoint, other):
    checkpoint({"state_dict": {"gen_model": other}})
    fixed = {name for name, parameter in loaded(folder).named_parameters() if not parameter.requires_grad}
    assert len(fixed) == 8 and all("wavelet_tranform" in name for name in fixed)


class Code:
    def __reduce__(self):
        return print, ("ran",)


def test_checkpoints_with_code_damaged_or_of_something_else_are_told(folder, checkpoint, other, capsys):
    path = checkpoint({"state_dict": {"gen_model": other}, "arguments": Code()})
    with pytest.raises(UserError, match="reading it would run code, so it is refused"):
        loaded(folder)
    assert not capsys.readouterr().out
    checkpoint({"state_dict": {"gen_model": other}})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"merged\.ckpt is damaged or cut short"):
        loaded(folder)
    checkpoint({"epoch": 3})
    with pytest.raises(UserError, match="holds no state dict"):
        loaded(folder)
    lacking = {name: value for name, value in other.items() if not name.startswith("decoder.conv_in")}
    checkpoint({"state_dict": {"gen_model": lacking}})
    text = r"another model than WFVAE:\s+not in the file \(2\): decoder\.conv_in\.conv\.weight"
    with pytest.raises(UserError, match=text):
        loaded(folder)
    checkpoint(other, name="second.ckpt")
    with pytest.raises(UserError, match=r"several files of weights: merged\.ckpt, second\.ckpt: name one of them"):
        loaded(folder)


def test_a_safetensors_file_is_taken_before_a_checkpoint(folder, other):
    torch.save({"state_dict": {"gen_model": {}}}, folder / "old.ckpt")
    assert_equal(loaded(folder), other)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"_class_name": "CausalVAEModel"}, "config.json describes CausalVAEModel; what is read here is WFVAEModel"),
        ({"norm_type": "batchnorm"}, "config.json: norm_type: 'batchnorm' is nothing that this network can have"),
        ({"latent_dim": 0}, "config.json: latent_dim: 0 is nothing"),
        ({"latent_dim": True}, "config.json: latent_dim: True is nothing"),
        ({"scale": [0.5, "x", 1]}, r"config.json: scale: \(0.5, 'x', 1\) is nothing"),
    ],
    ids=str,
)
def test_descriptions_of_something_else_are_told(folder, config, changes, text):
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(UserError, match=text):
        loaded(folder)


def test_descriptions_that_contradict_themselves_or_the_recipe_are_told(folder, config):
    with pytest.raises(RecipeError, match="decoder_energy_flow_hidden_size: is 6, but base_channels is 9"):
        loaded(folder, base_channels=9)
    with pytest.raises(RecipeError, match=r"t_chunk_enc: is 5, which holds no whole number of latents of 4 frames"):
        loaded(folder, t_chunk_enc=5)


def test_unknown_keys_of_a_description_are_told_and_left_out(folder, config, other, caplog):
    (folder / "config.json").write_text(json.dumps({**config, "use_magic": 1}))
    with caplog.at_level(logging.WARNING, logger="vidgen"):
        assert_equal(loaded(folder), other)
    assert "config.json has keys that mean nothing here: use_magic" in caplog.text
