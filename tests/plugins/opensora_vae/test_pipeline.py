"""The whole autoencoder: pieces, draws, parts, gradients, memory."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_opensora_vae import OpenSoraVAEOptions
from vidgen_opensora_vae.build import build, build_opensora_vae

SHIFT = torch.tensor([0.1, -0.2, 0.3, 0.4, -0.5]).reshape(1, 5, 1, 1, 1)
SCALE = torch.tensor([2.0, 0.5, 3.0, 1.5, 0.8]).reshape(1, 5, 1, 1, 1)


def draws():
    return Draws(1, [(4,), (9,)])


def test_it_is_one_part_after_the_other(make, video):
    vae = make()
    x_z = vae.spatial_vae.encode(video)
    z = vae.temporal_vae.encode(x_z).mode()
    latents = vae.encode(video)
    assert latents.shape == (2, 5, 4, 3, 4)
    torch.testing.assert_close(latents, (z - SHIFT) / SCALE)
    decoded = vae.spatial_vae.decode(vae.temporal_vae.decode(z, 13))
    torch.testing.assert_close(vae.decode(latents, 13), decoded, rtol=1e-4, atol=1e-5)


def test_pieces_are_independent(make, video):
    vae = make(micro_frame_size=5)
    latents = vae.encode(video)
    alone = [vae.encode(piece) for piece in video.split(5, dim=2)]
    torch.testing.assert_close(latents, torch.cat(alone, dim=2))
    assert [one.shape[2] for one in alone] == [2, 2, 1]
    back = [vae.decode(one, frames) for one, frames in zip(alone, (5, 5, 3), strict=True)]
    torch.testing.assert_close(vae.decode(latents, 13), torch.cat(back, dim=2))


@pytest.mark.parametrize(
    "portions", [{"micro_batch_size": 1}, {"micro_batch_size": 4}, {"memory_limit_mb": 1}], ids=str
)
def test_portions_change_nothing(make, video, portions):
    whole, split = make(micro_frame_size=5), make(micro_frame_size=5, spatial=portions)
    latents = whole.encode(video, draws())
    torch.testing.assert_close(split.encode(video, draws()), latents)
    torch.testing.assert_close(split.decode(latents, 13), whole.decode(latents, 13))


def test_draws_go_by_their_address(make, video):
    vae = make(micro_frame_size=5)
    parts, given = vae.encode_parts(video, draws()), draws()
    of_frames, of_clip = given.normal("posterior of frames", (3, 13, 3, 4)), given.normal("posterior", (5, 5, 3, 4))
    posterior = vae.spatial_vae.posterior(video)
    torch.testing.assert_close(parts.x_z, 0.18215 * posterior.sample(of_frames))
    torch.testing.assert_close(parts.z, parts.posterior.sample(of_clip))
    torch.testing.assert_close(vae.encode(video[1:], Draws(1, [(9,)])), vae.encode(video, draws())[1:])


def test_parts_hold_every_piece_and_lead_back(make, video):
    vae = make(micro_frame_size=5)
    parts = vae.encode_parts(video)
    torch.testing.assert_close((parts.z - SHIFT) / SCALE, vae.encode(video))
    assert parts.posterior.mean.shape == parts.z.shape == (2, 5, 5, 3, 4)
    assert parts.posterior.kl().shape == (2,)
    decoded, x_z = vae.decode_parts(parts.z, 13)
    torch.testing.assert_close(decoded, vae.decode(vae.encode(video), 13), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(vae.spatial_vae.decode(x_z), decoded)
    whole = vae(video)
    torch.testing.assert_close(whole.video, decoded)
    torch.testing.assert_close(whole.x_z, x_z)
    torch.testing.assert_close(whole.parts.x_z, parts.x_z)


def test_gradients_reach_everything(make, video):
    vae = make().requires_grad_(True)
    reconstruction = vae(video, draws())
    (reconstruction.video.sum() + reconstruction.parts.posterior.kl().sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in vae.parameters())
    assert vae.last_layer is dict(vae.named_parameters())["temporal_vae.decoder.conv_out.conv.weight"]


def test_the_image_part_can_be_frozen(options):
    vae = build(options(freeze_vae_2d=True), Context())
    assert not any(parameter.requires_grad for parameter in vae.spatial_vae.parameters())
    assert all(parameter.requires_grad for parameter in vae.temporal_vae.parameters())


def test_a_picture_is_a_clip_of_one_frame(make, video):
    vae = make(micro_frame_size=5)
    latents = vae.encode(video[:, :, :1])
    assert latents.shape == (2, 5, 1, 3, 4)
    assert vae.decode(latents, 1).shape == (2, 3, 1, 6, 8)


def test_rows_and_columns_are_rounded_down(make):
    vae = make()
    assert vae.encode(torch.zeros(1, 3, 5, 7, 9)).shape == (1, 5, *vae.latent_size((5, 7, 9))) == (1, 5, 2, 3, 4)


@pytest.mark.parametrize("length", [1, 3, 4, 5, 17, None])
def test_the_latent_size_is_that_of_the_pieces(make, length):
    vae = make(micro_frame_size=length)
    for frames in range(1, 40):
        pieces = [length] * (frames // length) + [frames % length] if length else [frames]
        assert vae.latent_size((frames, 6, 9)) == (sum(math.ceil(piece / 4) for piece in pieces), 3, 4)


def test_decoding_goes_piece_by_piece_in_order(make, video):
    vae = make(micro_frame_size=5)
    latents = vae.encode(video)
    pieces = list(vae.decode_stream(latents, 13))
    assert [piece.shape[2] for piece in pieces] == [5, 5, 3]
    assert torch.equal(torch.cat(pieces, dim=2), vae.decode(latents, 13))


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor made."""

    most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        sizes = [tensor.numel() for tensor in tree_leaves(out) if isinstance(tensor, torch.Tensor)]
        self.most = max(self.most, *sizes, 0)
        return out


def largest(call):
    with Largest() as seen:
        call()
    return seen.most


def test_memory_does_not_grow_with_length(make):
    """Of 2 and of 6 pieces, the largest tensor on the way is equally large; a whole clip's grows."""
    vae, plain = make(micro_frame_size=5), make()
    short, long = torch.randn(1, 5, 4, 3, 4), torch.randn(1, 5, 12, 3, 4)

    def stream(vae, latents, frames):
        for _ in vae.decode_stream(latents, frames):
            pass

    assert largest(lambda: stream(vae, short, 10)) == largest(lambda: stream(vae, long, 30))
    assert largest(lambda: stream(plain, short, 16)) < largest(lambda: stream(plain, long, 48))
    short, long = torch.zeros(1, 3, 10, 6, 8), torch.zeros(1, 3, 30, 6, 8)
    assert largest(lambda: vae.encode(short)) == largest(lambda: vae.encode(long))
    assert largest(lambda: plain.encode(short)) < largest(lambda: plain.encode(long))


def test_what_comes_out_follows_from_the_latents(make):
    """The numbers of frames that Open-Sora's own gives for lengths that do not belong to the latents."""
    vae = make(micro_frame_size=17)
    for frames, expected in ((16, 20), (17, 17), (18, 17)):
        assert vae.decode(torch.zeros(1, 5, 5, 1, 1), frames).shape[2] == expected


def test_half_precision_is_close(make, video):
    exact, half = make(micro_frame_size=5), make(micro_frame_size=5, dtype="bf16")
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    assert (half.scale.dtype, half.shift.dtype) == (torch.float32, torch.float32)
    latents = exact.encode(video)
    made = half.encode(video)
    assert made.dtype == torch.float32
    assert (made - latents).abs().max() < 0.1 * latents.abs().max()
    pixels = exact.decode(latents, 13)
    assert (half.decode(latents, 13) - pixels).abs().max() < 0.1 * pixels.abs().max()


def test_clips_too_small_and_decoding_without_a_length_are_refused(make):
    vae = make(micro_frame_size=5)
    with pytest.raises(UserError, match=r"rows: 1 \(smallest: 2\)"):
        vae.encode(torch.zeros(1, 3, 5, 1, 8))
    with pytest.raises(UserError, match=r"frames: 0 \(smallest: 1\)"):
        vae.latent_size((0, 8, 8))
    with pytest.raises(UserError, match=r"2 latent frames stand for clips of several lengths: say num_frames"):
        vae.decode(torch.zeros(1, 5, 2, 3, 4))
    with pytest.raises(UserError, match=r"\(B, 5, T, H, W\); given \(1, 4, 2, 3, 4\)"):
        vae.decode(torch.zeros(1, 4, 2, 3, 4), 5)
    with pytest.raises(UserError, match=r"encodes video of shape \(B, 3, T, H, W\); given \(3, 5, 8, 8\)"):
        vae.encode(torch.zeros(3, 5, 8, 8))


def test_open_soras_own_is_of_its_published_size():
    with torch.device("meta"):
        vae = build_opensora_vae(OpenSoraVAEOptions(), Context(load_weights=False))
    assert sum(parameter.numel() for parameter in vae.parameters()) == 393_341_007
    assert all(value.is_meta for value in vae.state_dict().values())
    assert (vae.latent_channels, vae.stride, vae.micro_frame_size) == (4, (4, 8, 8), 17)
    assert vae.spatial_vae.micro_batch_size == 4
    assert vae.latent_size((51, 720, 1280)) == (15, 90, 160)
