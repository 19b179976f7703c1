"""VideoAutoencoderKLTemporalDecoder against diffusers."""

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen_autoencoder_kl import TemporalDecoderOptions
from vidgen_autoencoder_kl.temporal_decoder import build

CONFIG = {"down_block_types": ["DownEncoderBlock2D"] * 2, "block_out_channels": [32, 32], "layers_per_block": 1}


def make(**options):
    options = {"config": CONFIG, **options}
    vae = build(TemporalDecoderOptions(**options), Context(seed=3)).eval().requires_grad_(False)
    for name, parameter in vae.named_parameters():
        if name.endswith("mix_factor"):
            parameter.fill_(-1.5)  # its start value would weigh both sides alike
    return vae


@pytest.fixture
def latents():
    return torch.randn(2, 4, 3, 5, 2, generator=torch.Generator().manual_seed(1))


def test_clips_are_decoded_as_diffusers_does(latents):
    vae = make()
    frames = (latents / 0.18215).transpose(1, 2).flatten(0, 1)
    expected = vae.module.decode(frames, num_frames=3).sample.unflatten(0, (2, 3)).transpose(1, 2)
    made = vae.decode(latents, 3)
    assert made.shape == (2, 3, 3, 10, 4)
    torch.testing.assert_close(made, expected)


def test_frames_see_one_another_but_clips_do_not(latents):
    vae = make()
    first = latents[:1]
    torch.testing.assert_close(vae.decode(latents)[:1], vae.decode(first))
    changed = first.clone()
    changed[:, :, 2] += 1
    assert not torch.allclose(vae.decode(changed)[:, :, 0], vae.decode(first)[:, :, 0])


def test_a_picture_can_be_decoded(latents):
    assert make().decode(latents[:, :, :1]).shape == (2, 3, 1, 10, 4)


def test_a_large_enough_tile_is_exact_and_smaller_ones_fill_the_frame(latents):
    whole = make().decode(latents)
    assert torch.equal(make(tile_size=10).decode(latents), whole)
    assert make(tile_size=6).decode(latents).shape == whole.shape


def test_encoding_is_refused_in_words():
    with pytest.raises(UserError, match=r"decodes only: .* Encode with VideoAutoencoderKL, such as stabilityai/sd-vae"):
        make().encode(torch.zeros(1, 3, 1, 8, 8))


def test_it_declares_sizes_like_the_image_autoencoder(latents):
    vae = make()
    assert (vae.latent_channels, vae.stride, vae.latent_size((3, 11, 4))) == (4, (1, 2, 2), (3, 5, 2))
    with pytest.raises(UserError, match=r"columns: 1 \(smallest: 2\)"):
        vae.latent_size((3, 11, 1))
    with pytest.raises(UserError, match="3 latent frames hold 3 frames of video, not 4"):
        vae.decode(latents, 4)


def test_a_folder_of_diffusers_is_loaded_in_the_type_asked_for(tmp_path, latents):
    plain = AutoencoderKLTemporalDecoder(**CONFIG).eval().requires_grad_(False)
    plain.save_pretrained(tmp_path / "vae")
    options = TemporalDecoderOptions(from_pretrained=str(tmp_path), subfolder="vae")
    vae = build(options, Context()).requires_grad_(False)
    loaded = vae.state_dict()
    assert all(torch.equal(loaded[f"module.{name}"], value) for name, value in plain.state_dict().items())
    half = build(TemporalDecoderOptions(config=CONFIG, dtype="bf16"), Context(seed=3)).requires_grad_(False)
    exact = build(TemporalDecoderOptions(config=CONFIG), Context(seed=3)).requires_grad_(False).decode(latents)
    assert half.decode(latents).dtype == torch.float32
    assert (half.decode(latents) - exact).abs().max() < 0.05 * exact.abs().max()


def test_a_dry_run_takes_no_memory():
    with torch.device("meta"):
        vae = build(TemporalDecoderOptions(), Context(load_weights=False))
    assert all(parameter.is_meta for parameter in vae.parameters())
    assert vae.latent_size((14, 576, 1024)) == (14, 72, 128)
