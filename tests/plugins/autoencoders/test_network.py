"""Networks of diffusers: shape, start values and names."""

import json
import math

import pytest
import torch
from attrs import evolve
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context
from vidgen_autoencoders.network import network_of, part_of, place_of, to_module, unwrapped
from vidgen_autoencoders.options import NetworkOptions
from vidgen_autoencoders.start import like_torch

TINY = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [4, 6],
    "norm_num_groups": 2,
}


def made(config, place=None, cls=AutoencoderKL):
    with torch.device("meta"):
        return network_of(cls, NetworkOptions(config=config), place)


def test_without_a_word_the_shape_is_stable_diffusions():
    assert sum(p.numel() for p in made({}).parameters()) == 83_653_863
    assert sum(p.numel() for p in made({}, cls=AutoencoderKLTemporalDecoder).parameters()) == 97_742_847


def test_the_recipes_config_wins_over_the_files(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL", **TINY, "new_key": 1}))
    assert made({}, tmp_path).config["block_out_channels"] == [4, 6]
    changed = made({"block_out_channels": [4, 8]}, tmp_path).config
    assert (changed["block_out_channels"], changed["norm_num_groups"]) == ([4, 8], 2)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"blok_out_channels": [4]}, r"config: .* knows no blok_out_channels \(did you mean block_out_channels or"),
        ({**TINY, "norm_num_groups": 5}, r"config: diffusers makes no AutoencoderKL of .*divisible"),
        ({**TINY, "block_out_channels": "wide"}, "config: diffusers makes no AutoencoderKL of"),
        ({**TINY, "in_channels": 1}, "in_channels and out_channels of AutoencoderKL have to be 3"),
    ],
    ids=["unknown", "groups", "type", "colours"],
)
def test_a_config_that_makes_no_network_is_refused(config, text):
    with pytest.raises(UserError, match=text):
        made(config)


def test_the_config_of_another_class_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderTiny"}')
    with pytest.raises(UserError, match=r"describes AutoencoderTiny; what is read here is diffusers' AutoencoderKL"):
        made({}, tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        made({}, tmp_path)


def test_a_folder_inside_is_found_or_missed_by_name(tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "unet").mkdir()
    options = NetworkOptions(from_pretrained=str(tmp_path), subfolder="vae")
    assert place_of(options, Context()) == tmp_path / "vae"
    with pytest.raises(UserError, match=r"has no folder 'vea' \(looked for .*vea; folders there: unet, vae\)"):
        place_of(evolve(options, subfolder="vea"), Context())
    assert place_of(NetworkOptions(), Context()) is None


def test_start_values_are_those_torch_would_draw():
    network = AutoencoderKL(**TINY)
    weight, bias = (torch.empty(900, 6, 3, 3), torch.empty(5000))
    for value, name in ((weight, "weight"), (bias, "bias")):
        like_torch(network, f"encoder.mid_block.resnets.0.conv1.{name}")(value, torch.Generator().manual_seed(1))
        bound = 1 / math.sqrt(6 * 3 * 3)
        assert 0.99 * bound < value.max() <= bound and -bound <= value.min() < -0.99 * bound
    for name, expected in (("weight", 1), ("bias", 0)):
        value = torch.empty(3)
        like_torch(network, f"encoder.conv_norm_out.{name}")(value, torch.Generator())
        assert value.tolist() == [expected] * 3


def test_older_names_and_wrappers_become_todays():
    value = torch.zeros(1)
    older = {
        f"encoder.mid_block.attentions.0.{layer}.weight": value for layer in ("query", "key", "value", "proj_attn")
    }
    converted = to_module({f"module.module.{name}": value for name in [*older, "encoder.key.weight"]})
    attention = "module.encoder.mid_block.attentions.0"
    assert converted.state.keys() == {
        *(f"{attention}.{layer}.weight" for layer in ("to_q", "to_k", "to_v", "to_out.0")),
        "module.encoder.key.weight",
    }
    assert converted.layout == "an older diffusers"
    assert to_module({"encoder.conv_in.bias": value}).layout == ""


def test_a_part_of_a_larger_checkpoint_is_taken_out():
    value = torch.zeros(1)
    state = {"spatial_vae.module.a": value, "temporal_vae.b": value}
    converted = to_module(state, inside="spatial_vae.")
    assert (converted.state.keys(), converted.dropped) == ({"module.a", "temporal_vae.b"}, ("temporal_vae.b",))
    assert part_of({"a": value}, "spatial_vae.") == ({"a": value}, {})
    assert unwrapped({"module.a": value, "b": value}).keys() == {"module.a", "b"}
