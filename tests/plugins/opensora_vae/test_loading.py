"""Weights of the whole and of its parts, and options that do not fit."""

import json

import attrs
import pytest
import torch
from safetensors.torch import save_file
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context
from vidgen_opensora_vae import OpenSoraVAEOptions, PipelineOptions, TemporalOptions
from vidgen_opensora_vae.build import build


@pytest.fixture
def other(make):
    """Another autoencoder's entries."""
    return {name: value.clone() for name, value in make(Context(seed=8)).state_dict().items()}


def assert_equal(vae, state, but=()):
    loaded = vae.state_dict()
    assert loaded.keys() == state.keys() | set(but)
    different = [name for name, value in state.items() if name not in but and not torch.equal(loaded[name], value)]
    assert not different


def test_a_folder_is_loaded(make, other, tmp_path):
    save_file(other, tmp_path / "model.safetensors")
    assert_equal(make(from_pretrained=str(tmp_path)), other)


def test_a_sharded_folder_is_loaded(make, other, tmp_path):
    names = sorted(other)
    homes = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(names)}
    for home in set(homes.values()):
        save_file({name: other[name] for name in names if homes[name] == home}, tmp_path / home)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": homes}))
    assert_equal(make(from_pretrained=str(tmp_path)), other)


def test_scale_and_shift_of_the_file_are_taken_where_they_are_one_per_channel(make, other, tmp_path):
    other["scale"] = torch.full((1, 5, 1, 1, 1), 7.0)
    save_file(other, tmp_path / "model.safetensors")
    assert make(from_pretrained=str(tmp_path)).scale.unique().tolist() == [7.0]


@pytest.mark.parametrize(
    "stored", [{"scale": torch.tensor(1.0), "shift": torch.tensor(0.0)}, {}], ids=["numbers", "none"]
)
def test_the_configured_scale_and_shift_stay_where_the_file_has_others_or_none(make, other, tmp_path, stored):
    """As training writes them."""
    rest = {name: value for name, value in other.items() if name not in ("scale", "shift")}
    save_file({**rest, **stored}, tmp_path / "model.safetensors")
    vae = make(from_pretrained=str(tmp_path))
    assert_equal(vae, rest, but=("scale", "shift"))
    torch.testing.assert_close(vae.scale.flatten(), torch.tensor([2.0, 0.5, 3.0, 1.5, 0.8]))
    torch.testing.assert_close(vae.shift.flatten(), torch.tensor([0.1, -0.2, 0.3, 0.4, -0.5]))


def test_single_numbers_are_buffers_without_axes(make):
    vae = make(shift=0.5, scale=2.0)
    assert (vae.shift.shape, vae.scale.shape, vae.shift.item()) == ((), (), 0.5)


def test_older_names_and_a_wrappers_prefix_are_understood(make, other, tmp_path):
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def renamed(name):
        for now, then in older.items():
            name = name.replace(f".{now}.", f".{then}.")
        return f"module.{name}"

    save_file({renamed(name): value for name, value in other.items()}, tmp_path / "model.safetensors")
    assert_equal(make(from_pretrained=str(tmp_path)), other)


def test_parts_are_loaded_from_places_of_their_own(options, other, tmp_path):
    """Each from a file of that part alone, and from one of both."""
    spatial = {name.removeprefix("spatial_vae."): v for name, v in other.items() if name.startswith("spatial_vae.")}
    temporal = {name.removeprefix("temporal_vae."): v for name, v in other.items() if name.startswith("temporal_vae.")}
    save_file(spatial, tmp_path / "spatial.safetensors")
    save_file(temporal, tmp_path / "temporal.safetensors")
    save_file(other, tmp_path / "both.safetensors")
    for of_frames, of_clips in (("spatial", "temporal"), ("both", "both")):
        temporal_place = str(tmp_path / f"{of_clips}.safetensors")
        chosen = options(
            spatial={"from_pretrained": str(tmp_path / f"{of_frames}.safetensors")},
            vae_temporal=attrs.evolve(options().vae_temporal, from_pretrained=temporal_place),
        )
        assert_equal(build(chosen, Context()), other)


def test_with_weights_of_the_whole_those_of_the_image_part_are_not_asked_for(options, other, tmp_path):
    save_file(other, tmp_path / "model.safetensors")
    chosen = options(from_pretrained=str(tmp_path), spatial={"from_pretrained": "no/such/place"})
    assert_equal(build(chosen, Context()), other)


def test_a_dry_run_reads_nothing(make):
    with torch.device("meta"):
        vae = make(Context(load_weights=False), from_pretrained="no/such/place")
    assert all(value.is_meta for value in vae.state_dict().values())


def test_damaged_and_foreign_weights_are_told(make, other, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({name: value for name, value in other.items() if "quant_conv" not in name}, path)
    with pytest.raises(
        UserError, match=r"another model than VideoAutoencoderPipeline:\s+not in the file \(.*quant_conv"
    ):
        make(from_pretrained=str(tmp_path))
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(RunError, match="damaged or cut short"):
        make(from_pretrained=str(tmp_path))


def test_an_id_that_is_not_in_the_cache_is_told_offline(make, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"'tiny-org/vae' is no path here, .*only the cache"):
        make(from_pretrained="tiny-org/vae")


def test_parts_of_other_widths_are_refused(make):
    with pytest.raises(UserError, match=r"vae_2d gives 3 channels per frame, but vae_temporal\.in_out_channels is 4"):
        make(vae_temporal=TemporalOptions(), shift=0.0, scale=1.0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (PipelineOptions(shift=(1.0, 2.0)), "shift: has 2 numbers, but latents have 4 channels"),
        (PipelineOptions(scale=(1.0, 2.0, 0.0, 1.0)), "scale: latents are divided by it: no number can be 0"),
        (TemporalOptions(filters=40), "num_groups: 32 does not divide a width of 40 or 80"),
        (
            TemporalOptions(channel_multipliers=(1, 2)),
            "temporal_downsample: has 3 values, but 2 channel_multipliers have 1 between them",
        ),
    ],
    ids=["shift", "scale", "groups", "levels"],
)
def test_keys_that_contradict_each_other_are_told(options, text):
    assert text in "\n".join(map(str, options.problems()))


def test_defaults_agree_with_one_another():
    assert not list(OpenSoraVAEOptions().problems()) and not list(TemporalOptions().problems())
    assert TemporalOptions(type="VAE_Temporal").halved() == (True, True, False)
