"""The sections of old configurations, as a recipe holds them."""

import attrs
import pytest
from vidgen.errors import RecipeError
from vidgen.registry import Registry
from vidgen.testing.subject import Subject
from vidgen.testing.tiny import tiny_context


def structured(**values):
    registry = Registry.discover()
    component = registry.find("autoencoder", "VideoAutoencoderPipeline")
    context = attrs.evolve(tiny_context(), registry=registry)
    return Subject("autoencoder", component, {}, context, ("vidgen_opensora_vae",)).structure(values)


def test_open_soras_sections_are_read():
    options = structured(
        from_pretrained="hpcai-tech/OpenSora-VAE-v1.2",
        vae_2d={"type": "VideoAutoencoderKL", "from_pretrained": "org/name", "subfolder": "vae", "micro_batch_size": 4},
        vae_temporal={"type": "VAE_Temporal_SD", "from_pretrained": None},
        freeze_vae_2d=False,
        cal_loss=True,
        micro_frame_size=17,
        shift=[-0.10, 0.34, 0.27, 0.98],
        scale=1,
    )
    assert (options.vae_2d.micro_batch_size, options.vae_2d.subfolder) == (4, "vae")
    assert (options.shift, options.scale) == ((-0.10, 0.34, 0.27, 0.98), 1.0)


def test_mistakes_are_told_at_their_place():
    with pytest.raises(RecipeError) as error:
        structured(
            vae_2d={"type": "VideoAutoencoderKl"},
            vae_temporal={"num_groups": 7, "filters": 8},
            micro_frame_size=0,
        )
    text = str(error.value)
    assert "vae_2d.type: expected one of VideoAutoencoderKL, got 'VideoAutoencoderKl'" in text
    assert "vae_temporal.num_groups: 7 does not divide a width of 8 or 16 or 32" in text
    assert "micro_frame_size" in text
