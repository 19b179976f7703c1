"""Stable Diffusion's autoencoder on every frame; the network is that of the library `vidgen_autoencoders`."""

from vidgen.interfaces import Context
from vidgen_autoencoders.build import built_frame_autoencoder
from vidgen_autoencoders.frames import VideoAutoencoderKL

from vidgen_autoencoder_kl import VideoAutoencoderKLOptions


def build(options: VideoAutoencoderKLOptions, context: Context) -> VideoAutoencoderKL:
    """The autoencoder with its weights, or with start values that depend on the run's seed alone.

    Raises: UserError, when weights are not found or do not fit; RunError, when a file is damaged.
    """
    return built_frame_autoencoder(options, context, options.dtype)
