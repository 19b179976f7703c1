"""Frame-by-frame autoencoders.

Offers the autoencoders `pixel`, `VideoAutoencoderKL` and `VideoAutoencoderKLTemporalDecoder`. Read whenever vidgen
starts, so it holds only names and options; the arithmetic lives in `vidgen_autoencoder_kl.pixel` and
`.temporal_decoder`, and that of `VideoAutoencoderKL` in the library `vidgen_autoencoders`.
"""

from collections.abc import Iterable

from attrs import frozen
from attrs.validators import deep_iterable, ge, gt
from vidgen import Component, hookimpl, option
from vidgen_autoencoders.options import SCALING_FACTOR, Dtype, FrameOptions, TiledOptions, dtype_option


@frozen(kw_only=True)
class PixelOptions:
    """Keys allowed beside `type: pixel`."""

    patch: tuple[int, int, int] = option(
        (1, 4, 4),
        "Video frames, rows and columns per latent, each 1 or more; clips' sizes must be multiples.",
        validator=deep_iterable(ge(1)),
    )


@frozen(kw_only=True)
class VideoAutoencoderKLOptions(FrameOptions):
    """Keys allowed beside `type: VideoAutoencoderKL`."""

    dtype: Dtype = dtype_option()


@frozen(kw_only=True)
class TemporalDecoderOptions(TiledOptions):
    """Keys allowed beside `type: VideoAutoencoderKLTemporalDecoder`."""

    scaling_factor: float = option(
        SCALING_FACTOR, "Latents are divided by this before decoding, above 0.", validator=gt(0)
    )
    dtype: Dtype = dtype_option()


@hookimpl
def vidgen_autoencoders() -> Iterable[Component]:
    """List the autoencoders of this plugin."""
    yield Component(
        name="pixel",
        summary="No autoencoder at all: each block of pixels becomes the channels of one latent. Exact, no weights.",
        options=PixelOptions,
        factory="vidgen_autoencoder_kl.pixel:build",
    )
    yield Component(
        name="VideoAutoencoderKL",
        summary="Stable Diffusion's image autoencoder (diffusers' AutoencoderKL) on each frame, 8x in each direction.",
        options=VideoAutoencoderKLOptions,
        factory="vidgen_autoencoder_kl.frames:build",
    )
    yield Component(
        name="VideoAutoencoderKLTemporalDecoder",
        summary="Stable Video Diffusion's decoder (diffusers' AutoencoderKLTemporalDecoder); decodes, cannot encode.",
        options=TemporalDecoderOptions,
        factory="vidgen_autoencoder_kl.temporal_decoder:build",
    )
