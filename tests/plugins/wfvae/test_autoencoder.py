"""Encoding and decoding: chunks, draws, scale, sizes."""

import pytest
import torch
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.registry import Registry
from vidgen.rng import Draws
from vidgen_wfvae.autoencoder import Tiling
from vidgen_wfvae.build import build

SCALE = torch.tensor([0.5, 2.0, 1.5]).reshape(1, 3, 1, 1, 1)
SHIFT = torch.tensor([0.1, -0.2, 0.3]).reshape(1, 3, 1, 1, 1)
EXACT = {"rtol": 0, "atol": 1e-5}


def draws():
    return Draws(1, [(4,), (9,)])


@pytest.mark.parametrize("interpolation", ["nearest", "trilinear"])
@pytest.mark.parametrize("tiling", [(2, 1), (4, 2), (16, 3)], ids=str)
def test_chunks_equal_the_whole_at_every_length(make, video_of, interpolation, tiling):
    whole, chunked = (make(t_interpolation=interpolation) for _ in range(2))
    chunked.tiling = Tiling(encoder=tiling[0], decoder=tiling[1])
    for frames in range(1, 38):
        video = video_of(frames)
        moments = whole.posterior(video).moments
        torch.testing.assert_close(chunked.posterior(video).moments, moments, **EXACT)
    for latent_frames in range(1, 11):
        z = torch.randn(1, 3, latent_frames, 1, 2)
        torch.testing.assert_close(chunked.decode(z), whole.decode(z), **EXACT)


def test_chunks_equal_the_whole_where_a_latent_stands_for_eight_frames(make, video_of, eight):
    whole, chunked = make(**eight), make(**eight, tiling=True, t_chunk_enc=4, t_chunk_dec=2)
    assert whole.stride == (8, 8, 8)
    for frames in range(1, 50, 3):
        video = video_of(frames)
        torch.testing.assert_close(chunked.posterior(video).moments, whole.posterior(video).moments, **EXACT)
    for latent_frames in range(1, 8):
        z = torch.randn(1, 3, latent_frames, 1, 2)
        video = whole.decode(z)
        assert video.shape[2] == 8 * latent_frames - 7
        torch.testing.assert_close(chunked.decode(z), video, **EXACT)


def test_with_group_norm_statistics_are_those_of_a_chunk(make, video_of):
    keys = {"norm_type": "groupnorm", "base_channels": 32, "encoder_energy_flow_hidden_size": 32}
    whole, chunked = (make(**keys, decoder_energy_flow_hidden_size=32, tiling=tiling) for tiling in (False, True))
    video = video_of(5)
    latents = whole.encode(video)
    assert not torch.allclose(chunked.encode(video), latents, **EXACT)
    torch.testing.assert_close(chunked.encode(video[:, :, :1]), whole.encode(video[:, :, :1]), **EXACT)
    assert chunked.decode(latents).shape == video.shape


def test_no_frame_depends_on_later_ones_but_for_interpolation(make, video_of):
    vae, video = make(), video_of(13)
    latents = vae.encode(video)
    torch.testing.assert_close(vae.encode(video[:, :, :5]), latents[:, :, :2], **EXACT)
    torch.testing.assert_close(vae.decode(latents[:, :, :3])[:, :, :5], vae.decode(latents)[:, :, :5], **EXACT)


def test_latents_are_shifted_then_scaled(make, video_of):
    vae, video = make(), video_of(5)
    z = vae.posterior(video).mode()
    torch.testing.assert_close(vae.encode(video), (z - SHIFT) * SCALE)
    torch.testing.assert_close(vae.decode(vae.encode(video)), vae.decode_draws(z), **EXACT)


def test_draws_go_by_their_address(make, video_of):
    vae, video = make(tiling=True, t_chunk_enc=2), video_of(9)
    sample = vae.posterior(video).sample(draws().normal("posterior", (3, 3, 1, 2)))
    torch.testing.assert_close(vae.encode(video, draws()), (sample - SHIFT) * SCALE)
    torch.testing.assert_close(vae.encode(video[1:], Draws(1, [(9,)])), vae.encode(video, draws())[1:])


def test_clips_worked_on_one_by_one_change_nothing(make, video_of):
    together, apart, video = make(), make(micro_batch_size=1), video_of(5)
    latents = together.encode(video)
    torch.testing.assert_close(apart.encode(video), latents, **EXACT)
    torch.testing.assert_close(apart.decode(latents), together.decode(latents), **EXACT)


def test_a_stream_is_the_clip_in_order(make, video_of):
    vae = make(tiling=True, t_chunk_dec=2)
    latents = vae.encode(video_of(17))
    pieces = list(vae.decode_stream(latents, 17))
    assert [piece.shape[2] for piece in pieces] == [1, 8, 8]
    assert torch.equal(torch.cat(pieces, dim=2), vae.decode(latents))


def test_save_memory_is_tiling_in_smaller_chunks(make):
    assert make().tiling is None
    assert make(tiling=True).tiling == Tiling(encoder=16, decoder=4)
    assert make(save_memory=True).tiling == Tiling(encoder=8, decoder=4)
    assert make(save_memory=True, t_chunk_enc=6, t_chunk_dec=1).tiling == Tiling(encoder=6, decoder=1)


@pytest.mark.parametrize("tiling", [False, True])
def test_gradients_reach_everything_but_the_filters(options, video_of, tiling):
    vae = build(options(tiling=tiling, t_chunk_enc=2, t_chunk_dec=1), Context())
    parts = vae.encode_parts(video_of(9), draws())
    video, same = vae.decode_parts(parts.z, 9)
    assert video is same
    (video.square().sum() + parts.posterior.kl().sum()).backward()
    without = [name for name, parameter in vae.named_parameters() if parameter.grad is None]
    assert without == [name for name in without if "wavelet_tranform" in name] and len(without) == 8
    assert vae.last_layer is dict(vae.named_parameters())["decoder.conv_out.weight"]


def test_half_precision_is_close(make, video_of):
    exact, half, video = make(), make(dtype="bf16", tiling=True), video_of(9)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    assert half.scale.dtype == torch.float32
    latents = exact.encode(video)
    assert half.encode(video).dtype == torch.float32
    assert (half.encode(video) - latents).abs().max() < 0.05 * latents.abs().max()
    pixels = exact.decode(latents)
    assert (half.decode(latents) - pixels).abs().max() < 0.1 * pixels.abs().max()


def test_dropout_is_of_training_alone(options, video_of):
    vae, video = build(options(dropout=0.5), Context()), video_of(1)
    with torch.no_grad():
        assert not torch.equal(vae.train().encode(video), vae.encode(video))
        assert torch.equal(vae.eval().encode(video), vae.encode(video))


def test_sizes_are_counted_from_the_first_frame(make, eight):
    vae = make()
    assert (vae.stride, vae.chunk, vae.latent_channels) == ((4, 8, 8), None, 3)
    assert vae.latent_size((93, 352, 640)) == (24, 44, 80)
    assert vae.latent_size((1, 15, 16)) == (1, 1, 2)
    assert make(**eight).latent_size((17, 16, 24)) == (3, 2, 3)


def test_lengths_and_sizes_that_do_not_come_back_are_refused(make, video_of):
    vae = make()
    with pytest.raises(UserError, match=r"given 7 frames\. Set num_frames to 5 or 9\."):
        vae.encode(video_of(7))
    with pytest.raises(UserError, match=r"rows: 7 \(smallest: 8\)"):
        vae.latent_size((5, 7, 8))
    with pytest.raises(UserError, match="2 latent frames hold 5 frames of video, not 6"):
        vae.decode(torch.zeros(1, 3, 2, 1, 1), 6)
    with pytest.raises(UserError, match=r"\(B, 3, T, H, W\); given \(1, 4, 2, 1, 1\)"):
        vae.decode(torch.zeros(1, 4, 2, 1, 1))
    with pytest.raises(UserError, match=r"encodes video of shape \(B, 3, T, H, W\); given \(3, 5, 8, 8\)"):
        vae.encode(torch.zeros(3, 5, 8, 8))


@pytest.mark.parametrize(
    ("name", "channels", "parameters"),
    [("WFVAE", 8, 145_576_716), ("WFVAE-8dim", 8, 145_576_716), ("WFVAE-4dim", 4, 146_496_772)],
)
def test_published_sizes(name, channels, parameters):
    component = Registry.discover().find("autoencoder", name)
    with torch.device("meta"):
        vae = build(component.options(), Context(load_weights=False))
    assert vae.latent_channels == channels
    assert sum(parameter.numel() for parameter in vae.parameters()) == parameters
