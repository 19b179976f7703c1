"""The autoencoder beside its specification written out, where no recorded case looks."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import torch
from plain_wfvae import PlainWFVAE
from torch import Tensor
from vidgen_wfvae import WFVAEOptions
from vidgen_wfvae.autoencoder import WFVAE

Options = dict[str, Any]
Both = Callable[..., tuple[WFVAE, PlainWFVAE]]

GROUPS: Options = {
    "norm_type": "groupnorm",
    "base_channels": 32,
    "encoder_energy_flow_hidden_size": 32,
    "decoder_energy_flow_hidden_size": 32,
}
OPTIONS: dict[str, Options] = {
    "as it is": {},
    "groups": GROUPS,
    "nearest": {"t_interpolation": "nearest"},
    "no attention": {"use_attention": False},
    "no blocks in the connections": {"connect_res_layer_num": 0},
    "many blocks": {"encoder_num_resblocks": 3, "decoder_num_resblocks": 2, "connect_res_layer_num": 2},
}
SIZES = {
    "an image": (1, 16, 24),
    "4 frames are one latent": (4, 8, 16),
    "7 frames are two": (7, 8, 16),
    "sides of no whole latents": (6, 12, 22),
    "odd sides": (5, 19, 29),
}
CHUNKS = [(17, 4, 2), (41, 16, 4), (33, 8, 4), (29, 8, 3), (23, 8, 1)]
"""Video frames, and steps of the encoder and of the decoder; the last frames of 23 are left out."""


def same(made: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-5 * max(1.0, wanted.abs().max().item()))


@pytest.fixture
def both(make: Callable[..., WFVAE], options: Callable[..., WFVAEOptions]) -> Both:
    """An autoencoder and the same written out, with weights so large that everything has an influence."""

    def made(**changes: Any) -> tuple[WFVAE, PlainWFVAE]:
        vae, generator = make(**changes), torch.Generator().manual_seed(8)
        for name, value in vae.named_parameters():
            if "wavelet_tranform" not in name:
                drawn = torch.randn(value.shape, generator=generator)
                usual = value[0].numel() ** -0.5 * drawn if value.ndim > 1 else 0.2 * drawn
                value.copy_(usual + 1 if value.ndim == 1 and name.endswith("weight") else usual)
        return vae, PlainWFVAE(vae.state_dict(), attrs.asdict(options(**changes)))

    return made


def latents(frames: int, rows: int = 1, columns: int = 2) -> Tensor:
    return torch.randn(1, 3, frames, rows, columns, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS)
def test_every_option_does_what_its_sentence_says(
    both: Both, video_of: Callable[..., Tensor], changes: Options
) -> None:
    vae, plain = both(**changes)
    same(vae.posterior(video_of(9)).moments, plain.encode(video_of(9)))
    same(vae.decode_draws(latents(4)), plain.decode(latents(4)))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_every_size_is_floored(both: Both, video_of: Callable[..., Tensor], size: tuple[int, int, int]) -> None:
    vae, plain = both()
    moments = vae.posterior(video_of(*size)).moments
    frames, rows, columns = size
    assert moments.shape[2:] == (((frames + 1) // 2 + 1) // 2, rows // 8, columns // 8)
    same(moments, plain.encode(video_of(*size)))


@pytest.mark.parametrize("changes", [{}, {"t_interpolation": "nearest", "norm_type": "groupnorm"}], ids=["", "groups"])
@pytest.mark.parametrize("frames", [1, 9, 14, 25])
def test_8_frames_to_a_latent_double_with_neighbours_in_the_last_level(
    both: Both, video_of: Callable[..., Tensor], eight: dict[str, str], changes: Options, frames: int
) -> None:
    vae, plain = both(**eight, **(GROUPS | changes if changes else {}))
    moments = vae.posterior(video_of(frames, 11, 16)).moments
    same(moments, plain.encode(video_of(frames, 11, 16)))
    z = latents(moments.shape[2])
    same(vae.decode_draws(z), plain.decode(z))


@pytest.mark.parametrize("interpolation", ["nearest", "trilinear"])
@pytest.mark.parametrize(("frames", "encoder", "decoder"), CHUNKS)
def test_chunks_with_group_norm_follow_the_rule_of_chunks(
    both: Both, video_of: Callable[..., Tensor], interpolation: str, frames: int, encoder: int, decoder: int
) -> None:
    """They are not the whole clip's: what is remembered was made with another chunk's statistics."""
    chunks = {"tiling": True, "t_chunk_enc": encoder, "t_chunk_dec": decoder}
    vae, plain = both(**GROUPS, t_interpolation=interpolation, **chunks)
    moments = vae.posterior(video_of(frames)).moments
    same(moments, plain.encode(video_of(frames), encoder))
    z = latents(moments.shape[2])
    same(vae.decode_draws(z), plain.decode(z, decoder))
    assert not torch.allclose(plain.decode(z, decoder), plain.decode(z), atol=1e-3)
