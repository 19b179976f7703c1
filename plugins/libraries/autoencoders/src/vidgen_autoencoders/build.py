"""VideoAutoencoderKL from its options."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from vidgen.interfaces import Context

from vidgen_autoencoders.frames import VideoAutoencoderKL
from vidgen_autoencoders.network import DTYPES, load, network_of, place_of, start, to_module
from vidgen_autoencoders.options import FrameOptions

PIPELINE_PREFIX = "spatial_vae."  # of the image part in an autoencoder that has a temporal one as well


def frame_autoencoder(options: FrameOptions, place: Path | None) -> VideoAutoencoderKL:
    """The autoencoder on the default device, without weights. place: a folder that may hold a `config.json`.

    Raises: UserError, for a shape or tiles that cannot be.
    """
    return VideoAutoencoderKL(
        network_of(AutoencoderKL, options, place),
        scaling_factor=options.scaling_factor,
        micro_batch_size=options.micro_batch_size,
        memory_limit_mb=options.memory_limit_mb,
        tile_size=options.tile_size,
        tile_overlap=options.tile_overlap,
    )


def built_frame_autoencoder(options: FrameOptions, context: Context, dtype: str) -> VideoAutoencoderKL:
    """The autoencoder with its weights or start values, on the default device. dtype: `fp32` or `bf16`.

    Raises: UserError, when weights are not found or do not fit; RunError, when a file is damaged.
    """
    device, place = torch.get_default_device(), place_of(options, context)
    with torch.device("meta"):
        network = frame_autoencoder(options, place).to(DTYPES[dtype])
    load(network, place, context, device, lambda state: to_module(state, inside=PIPELINE_PREFIX))
    start(network, context, device)
    return network
