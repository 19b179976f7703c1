"""The temporal autoencoder: lengths, padding, order."""

import pytest
import torch
from vidgen_opensora_vae.temporal import Doubling, TemporalAutoencoder


def tiny(**options):
    torch.manual_seed(3)
    sizes = {"in_out_channels": 3, "latent_embed_dim": 2, "embed_dim": 5, "filters": 4, "num_res_blocks": 1}
    return TemporalAutoencoder(**{**sizes, "num_groups": 2, **options}).eval().requires_grad_(False)


@pytest.mark.parametrize("num_frames", range(1, 10))
def test_a_clip_comes_back_as_long_as_it_was(num_frames):
    vae = tiny()
    posterior = vae.encode(torch.randn(2, 3, num_frames, 3, 2))
    assert posterior.mean.shape == (2, 5, -(-num_frames // 4), 3, 2)
    assert vae.decode(posterior.mode(), num_frames).shape == (2, 3, num_frames, 3, 2)


def test_zero_frames_are_put_in_front():
    vae, x = tiny(), torch.randn(1, 3, 6, 3, 2)
    padded = torch.cat([torch.zeros(1, 3, 2, 3, 2), x], dim=2)
    torch.testing.assert_close(vae.encode(x).moments, vae.encode(padded).moments)


def test_only_the_remainder_of_the_number_of_frames_matters():
    vae, z = tiny(), torch.randn(1, 5, 3, 2, 2)
    whole = vae.decode(z, 12)
    assert whole.shape[2] == 12
    torch.testing.assert_close(vae.decode(z, 16), whole)
    torch.testing.assert_close(vae.decode(z, 5), whole[:, :, 3:])
    torch.testing.assert_close(vae.decode(z, -3), whole[:, :, 3:])


def test_doubling_makes_every_second_channel_the_later_frame():
    layer = Doubling(2).requires_grad_(False)
    layer.conv.weight.zero_()
    layer.conv.bias.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert layer(torch.zeros(1, 2, 2, 1, 1)).flatten(2)[0].tolist() == [[1, 2, 1, 2], [3, 4, 3, 4]]


def test_clips_do_not_meet():
    vae, x = tiny(), torch.randn(3, 3, 5, 3, 2)
    torch.testing.assert_close(vae.encode(x).moments[1:2], vae.encode(x[1:2]).moments)


@pytest.mark.parametrize(
    ("halved", "factor"), [((False, False, False), 1), ((True, False, False), 2), ((True,) * 3, 8)]
)
def test_any_halvings_are_possible(halved, factor):
    vae = tiny(temporal_downsample=halved, activation_fn="relu")
    assert vae.factor == factor
    assert vae.latent_frames(9) == -(-9 // factor)
    assert vae.decode(vae.encode(torch.randn(1, 3, 9, 2, 2)).mode(), 9).shape == (1, 3, 9, 2, 2)


def test_a_single_level_is_possible():
    vae = tiny(channel_multipliers=(2,), temporal_downsample=())
    assert vae.decode(vae.encode(torch.randn(1, 3, 2, 2, 2)).mode(), 2).shape == (1, 3, 2, 2, 2)


def test_it_can_be_compiled():
    vae = tiny(channel_multipliers=(1, 2), temporal_downsample=(True,))
    z = torch.randn(1, 5, 2, 3, 2)
    compiled = torch.compile(vae.decode, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(z, 3), vae.decode(z, 3))
