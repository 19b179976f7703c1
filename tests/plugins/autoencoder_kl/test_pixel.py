"""Pixels as latents."""

import pytest
import torch
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen_autoencoder_kl import PixelOptions
from vidgen_autoencoder_kl.pixel import build


def make(*patch):
    return build(PixelOptions(patch=patch), Context())


@pytest.mark.parametrize("patch", [(1, 4, 4), (2, 3, 5), (1, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decoding_gives_every_bit_back(patch, dtype):
    autoencoder = make(*patch)
    video = (torch.rand(2, 3, *[size * count for size, count in zip(patch, (3, 1, 2), strict=True)]) * 2 - 1).to(dtype)
    latents = autoencoder.encode(video)
    assert latents.dtype == dtype
    assert latents.shape == (2, autoencoder.latent_channels, 3, 1, 2)
    assert torch.equal(autoencoder.decode(latents, num_frames=3 * patch[0]), video)
    assert torch.equal(autoencoder.decode(latents), video)


def test_channels_are_colour_then_frame_then_row_then_column():
    colour, frame, row, column = torch.meshgrid(*map(torch.arange, (3, 4, 6, 10)), indexing="ij")
    video = (colour * 1000 + frame * 100 + row * 10 + column)[None].float()
    latents = make(2, 3, 5).encode(video)
    first = [c * 1000 + t * 100 + h * 10 + w for c in range(3) for t in (2, 3) for h in (0, 1, 2) for w in range(5, 10)]
    assert latents[0, :, 1, 0, 1].tolist() == first


def test_it_declares_what_the_others_need():
    autoencoder = make(2, 4, 8)
    assert autoencoder.latent_channels == 192
    assert autoencoder.stride == (2, 4, 8)
    assert autoencoder.latent_size((6, 12, 40)) == (3, 3, 5)
    assert not list(autoencoder.parameters())


def test_the_default_patch_keeps_frames_apart():
    autoencoder = build(PixelOptions(), Context())
    assert autoencoder.latent_size((17, 64, 32)) == (17, 16, 8)
    assert autoencoder.latent_channels == 48


def test_sizes_that_do_not_divide_are_refused_with_the_nearest_that_do():
    with pytest.raises(UserError) as error:
        make(2, 4, 4).latent_size((17, 30, 32))
    assert "frames: 17 (nearest: 16 or 18); rows: 30 (nearest: 28 or 32)." in str(error.value)
    assert "columns:" not in str(error.value)
    with pytest.raises(UserError, match=r"frames: 1 \(nearest: 2\)"):
        make(2, 4, 4).encode(torch.zeros(1, 3, 1, 4, 4))
    with pytest.raises(UserError, match=r"rows: 0 \(nearest: 4\)"):
        make(2, 4, 4).latent_size((2, 0, 4))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda it: it.encode(torch.zeros(2, 1, 2, 4, 4)), r"given \(2, 1, 2, 4, 4\)"),
        (lambda it: it.encode(torch.zeros(3, 2, 4, 4)), r"given \(3, 2, 4, 4\)"),
        (lambda it: it.decode(torch.zeros(2, 95, 1, 1, 1)), r"\(B, 96, T, H, W\), given \(2, 95, 1, 1, 1\)"),
        (lambda it: it.decode(torch.zeros(2, 96, 3, 1, 1), 5), "3 latent frames hold 6 frames, not 5"),
    ],
    ids=["colours", "no batch", "channels", "frames"],
)
def test_tensors_of_another_shape_are_refused(call, text):
    with pytest.raises(UserError, match=text):
        call(make(2, 4, 4))


def test_a_patch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="patch"):
        PixelOptions(patch=(1, 0, 4))
