"""VideoAutoencoderKL against diffusers, and in portions against itself."""

import pytest
import torch
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.rng import Draws


@pytest.fixture
def draws():
    return Draws(1, [(4,), (9,)])


def of_diffusers(vae, video):
    """Clip by clip, frame by frame, by diffusers' plain calls."""
    frames = [[vae.module.encode(clip[None, :, t]).latent_dist for t in range(clip.shape[1])] for clip in video]
    return torch.stack([torch.stack([one.mode()[0] for one in clip], dim=1) for clip in frames])


def test_latents_are_diffusers_times_the_factor(make, video):
    vae = make()
    latents = vae.encode(video)
    assert latents.shape == (2, 3, 3, 3, 5)
    torch.testing.assert_close(latents, 0.18215 * of_diffusers(vae, video))
    torch.testing.assert_close(make(scaling_factor=2.0).encode(video), 2 * of_diffusers(vae, video))


def test_pixels_are_those_of_diffusers(make):
    vae, latents = make(), torch.randn(2, 3, 2, 5, 3)
    frames = vae.module.decode((latents / 0.18215).transpose(1, 2).flatten(0, 1)).sample
    made = vae.decode(latents, 2)
    assert made.shape == (2, 3, 2, 20, 12)
    torch.testing.assert_close(made, frames.unflatten(0, (2, 2)).transpose(1, 2))


def test_a_draw_is_the_mode_and_noise_of_its_own_address(make, video, draws):
    vae = make()
    posterior, noise = vae.posterior(video), draws.normal("posterior", (3, 3, 3, 5))
    torch.testing.assert_close(vae.encode(video, draws), 0.18215 * (posterior.mean + posterior.std * noise))
    alone = vae.encode(video[1:], Draws(1, [(9,)]))
    torch.testing.assert_close(vae.encode(video, draws)[1:], alone)


@pytest.mark.parametrize(
    "portions", [{"micro_batch_size": 1}, {"micro_batch_size": 4}, {"memory_limit_mb": 1}], ids=lambda p: next(iter(p))
)
def test_portions_change_nothing(make, video, draws, portions):
    whole, split = make(), make(**portions)
    latents = whole.encode(video, draws)
    torch.testing.assert_close(split.encode(video, draws), latents)
    torch.testing.assert_close(split.decode(latents), whole.decode(latents))


def test_a_picture_is_a_clip_of_one_frame(make, video):
    vae = make()
    torch.testing.assert_close(vae.encode(video[:, :, 1:2]), vae.encode(video)[:, :, 1:2])
    assert vae.decode(vae.encode(video[:, :, :1])).shape == (2, 3, 1, 12, 20)


def test_a_large_enough_tile_is_exact(make, video):
    whole, tiled = make(), make(tile_size=20)
    latents = whole.encode(video)
    assert torch.equal(tiled.encode(video), latents)
    assert torch.equal(tiled.decode(latents), whole.decode(latents))


def test_larger_tiles_are_closer_to_the_whole(make):
    """On a wave, of which every tile holds several, so that its statistics are those of the whole."""
    rows, columns = torch.meshgrid(torch.arange(64) * torch.pi / 8, torch.arange(96) * torch.pi / 6, indexing="ij")
    wave = 0.5 * columns.sin() * rows.cos()
    video = torch.stack([wave, 0.5 * wave, -wave])[None, :, None]
    latents = make().encode(video)
    pixels = make().decode(latents)
    of_latents, of_pixels = [], []
    for size in (24, 48, 64):
        tiled = make(tile_size=size)
        of_latents.append(((tiled.encode(video) - latents).abs().mean() / latents.abs().mean()).item())
        of_pixels.append(((tiled.decode(latents) - pixels).abs().mean() / pixels.abs().mean()).item())
    assert of_latents == sorted(of_latents, reverse=True) and 0 < of_latents[-1] < 0.1
    assert of_pixels == sorted(of_pixels, reverse=True) and 0 < of_pixels[-1] < 0.2


def test_gradients_reach_pixels_latents_and_weights(make, video, draws):
    vae = make().requires_grad_(True)
    video.requires_grad_()
    latents = vae.encode(video, draws)
    vae.decode(latents).sum().backward()
    assert video.grad[..., :12, :20].ne(0).all()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in vae.parameters())


def test_half_precision_is_close_and_keeps_the_type_that_comes_in(make, video):
    exact, half = make(), make(dtype="bf16")
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    latents = exact.encode(video)
    assert half.encode(video).dtype == half.decode(latents).dtype == torch.float32
    assert half.encode(video.bfloat16()).dtype == torch.bfloat16
    assert (half.encode(video) - latents).abs().max() < 0.05 * latents.abs().max()
    pixels = exact.decode(latents)
    assert (half.decode(latents) - pixels).abs().max() < 0.05 * pixels.abs().max()


def test_sizes_are_rounded_down_and_nothing_but_nothing_is_refused(make):
    vae = make()
    assert (vae.latent_channels, vae.stride) == (3, (1, 4, 4))
    assert vae.latent_size((5, 4, 7)) == (5, 1, 1)
    assert vae.latent_size((1, 31, 32)) == (1, 7, 8)
    with pytest.raises(UserError, match=r"rows: 3 \(smallest: 4\); columns: 0 \(smallest: 4\)\. Change num_frames"):
        vae.latent_size((2, 3, 0))
    with pytest.raises(UserError, match=r"given frames: 0 \(smallest: 1\)\."):
        vae.latent_size((0, 8, 8))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda it: it.encode(torch.zeros(2, 1, 2, 8, 8)),
            r"encodes video of shape \(B, 3, T, H, W\); given \(2, 1, 2,",
        ),
        (lambda it: it.encode(torch.zeros(3, 2, 8, 8)), r"given \(3, 2, 8, 8\)"),
        (lambda it: it.encode(torch.zeros(1, 3, 1, 3, 8)), r"rows: 3 \(smallest: 4\)"),
        (lambda it: it.decode(torch.zeros(2, 4, 1, 2, 2)), r"\(B, 3, T, H, W\); given \(2, 4, 1, 2, 2\)"),
        (lambda it: it.decode(torch.zeros(2, 3, 1, 0, 2)), r"given \(2, 3, 1, 0, 2\)"),
        (lambda it: it.decode(torch.zeros(2, 3, 4, 2, 2), 5), "4 latent frames hold 4 frames of video, not 5"),
    ],
    ids=["colours", "no batch", "small", "channels", "empty", "frames"],
)
def test_tensors_of_another_shape_are_refused(make, call, text):
    with pytest.raises(UserError, match=text):
        call(make())


def test_a_tile_has_to_hold_whole_latents(make):
    with pytest.raises(UserError, match=r"tile_size is 30 pixels, .* multiple of 4, such as 28 or 32"):
        make(tile_size=30)


def test_start_values_depend_on_the_seed_and_the_name_alone(make):
    torch.manual_seed(1)
    one = make().state_dict()
    torch.manual_seed(2)
    same, other = make().state_dict(), make(context=Context(seed=4)).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["module.encoder.conv_in.weight"], other["module.encoder.conv_in.weight"])


def test_it_can_be_compiled(make, video):
    one_level = {"block_out_channels": [4], "norm_num_groups": 2}
    vae = make(micro_batch_size=4, config=one_level)
    compiled = torch.compile(vae.decode, backend="eager", fullgraph=True)
    latents = vae.encode(video)
    torch.testing.assert_close(compiled(latents), vae.decode(latents))
