"""Options as a recipe holds them, and a training run."""

import csv

import attrs
import pytest
import vidgen
from vidgen.errors import RecipeError
from vidgen.registry import Registry
from vidgen.testing.subject import Subject
from vidgen.testing.tiny import tiny_context
from vidgen_wfvae import EightOptions, FourOptions, WFVAEOptions


def structured(**values):
    registry = Registry.discover()
    component = registry.find("autoencoder", "WFVAE")
    context = attrs.evolve(tiny_context(), registry=registry)
    return Subject("autoencoder", component, {}, context, ("vidgen_wfvae",)).structure(values)


def test_the_keys_of_published_descriptions_are_read(eight):
    options = structured(**eight, latent_dim=16, scale=[0.5] * 16, shift=0, norm_type="layernorm", tiling=True)
    assert (options.frames_per_latent(), options.scale, options.shift) == (8, (0.5,) * 16, 0.0)


def test_defaults_agree_with_one_another():
    assert not [problem for kind in (WFVAEOptions, EightOptions, FourOptions) for problem in kind().problems()]


def test_mistakes_are_told_at_their_place(eight):
    with pytest.raises(RecipeError) as error:
        structured(
            base_channels=48,
            l1_upsample_block=eight["l1_upsample_block"],
            scale=[1.0, 0.0],
            t_chunk_enc=6,
            t_interpolation="cubic",
        )
    assert "t_interpolation: expected one of nearest, trilinear, got 'cubic'" in str(error.value)
    with pytest.raises(RecipeError) as error:
        structured(base_channels=48, l1_upsample_block=eight["l1_upsample_block"], scale=[1.0, 0.0], t_chunk_enc=6)
    text = str(error.value)
    assert "decoder_energy_flow_hidden_size: is 128, but base_channels is 48" in text
    assert "norm_type: groupnorm has 32 groups, which do not divide a width of 48" in text
    assert "l1_upsample_block: l1_upsample_block would make a latent stand for 8 frames, the other keys" in text
    assert "for 8 frames: l1_dowmsample_block: Spatial2xTime2x3DDownsample; " in text
    assert "scale: has 2 numbers, but latent_dim is 8" in text
    assert "scale: latents are divided by it again: no number can be 0" in text
    assert "t_chunk_enc: is 6, which holds no whole number of latents of 8 frames" in text
    assert "nearest: 4 or 8" in text


def test_it_can_be_trained_by_the_job_for_autoencoders(tmp_path):
    """Forty steps on moving shapes lower the error by more than a third, and the result is read again."""
    widths = {"base_channels": 8, "encoder_energy_flow_hidden_size": 8, "decoder_energy_flow_hidden_size": 8}
    blocks = {"encoder_num_resblocks": 1, "decoder_num_resblocks": 1, "norm_type": "layernorm", "latent_dim": 4}
    shape = {**widths, **blocks}
    recipe = {
        "job": "train-autoencoder",
        "outputs": str(tmp_path / "run"),
        "seed": 3,
        "max_steps": 40,
        "batch_size": 2,
        "num_workers": 0,
        "num_frames": 5,
        "image_size": [16, 16],
        "dataset": {"type": "moving-shapes", "rows": 80},
        "vae": {"type": "WFVAE", **shape},
        "optimizer": {"lr": 5e-3, "warmup_steps": 5},
        "log": {"every": 5},
        "checkpoint": {"every": 0},
        "evaluate": None,
    }
    vidgen.run(vidgen.load_recipe(recipe))
    with (tmp_path / "run/metrics.csv").open() as file:
        errors = [float(row["l1"]) for row in csv.DictReader(file)]
    assert errors[-1] < errors[0] * 2 / 3
    vidgen.build("autoencoder", "WFVAE", **shape, from_pretrained=str(tmp_path / "run"))
