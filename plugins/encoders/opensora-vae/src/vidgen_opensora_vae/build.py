"""The autoencoders from their options: built without memory, filled once from one file or from one per part."""

import torch
from attrs import evolve
from vidgen import weights
from vidgen.interfaces import Context
from vidgen_autoencoders.build import PIPELINE_PREFIX, frame_autoencoder
from vidgen_autoencoders.network import DTYPES, load, place_of, start, to_module

from vidgen_opensora_vae import OpenSoraVAEOptions, PipelineOptions, TemporalOptions
from vidgen_opensora_vae.pipeline import VideoAutoencoderPipeline
from vidgen_opensora_vae.temporal import TemporalAutoencoder
from vidgen_opensora_vae.weights import to_pipeline, to_temporal


def build_opensora_vae(options: OpenSoraVAEOptions, context: Context) -> VideoAutoencoderPipeline:
    """Open-Sora 1.2's own. See `build`."""
    if options.micro_batch_size is None:
        return build(options, context)
    spatial = evolve(options.vae_2d, micro_batch_size=options.micro_batch_size)
    return build(evolve(options, vae_2d=spatial), context)


def build(options: PipelineOptions, context: Context) -> VideoAutoencoderPipeline:
    """The autoencoder with its weights, or with start values that depend on the run's seed alone.

    Raises: UserError, when weights are not found or do not fit; RunError, when a file is damaged.
    """
    device, dtype = torch.get_default_device(), DTYPES[options.dtype]
    whole = options.from_pretrained
    place = None if whole is not None else place_of(options.vae_2d, context)
    with torch.device("meta"):
        network = VideoAutoencoderPipeline(
            frame_autoencoder(options.vae_2d, place).to(dtype),
            temporal_autoencoder(options.vae_temporal).to(dtype),
            micro_frame_size=options.micro_frame_size,
            shift=options.shift,
            scale=options.scale,
        )
    if whole is not None and context.load_weights:
        weights.load_into(
            network,
            whole,
            convert=lambda state: to_pipeline(state, network.state_dict()),
            hub_id=options.force_huggingface,
            device=device,
        )
    elif whole is None:
        load(network.spatial_vae, place, context, device, lambda state: to_module(state, inside=PIPELINE_PREFIX))
        load(network.temporal_vae, options.vae_temporal.from_pretrained, context, device, to_temporal)
    start(network, context, device)
    if options.freeze_vae_2d:
        network.spatial_vae.requires_grad_(False)
    return network


def temporal_autoencoder(options: TemporalOptions) -> TemporalAutoencoder:
    """On the default device, with whatever values its layers make."""
    return TemporalAutoencoder(
        in_out_channels=options.in_out_channels,
        latent_embed_dim=options.latent_embed_dim,
        embed_dim=options.embed_dim,
        filters=options.filters,
        num_res_blocks=options.num_res_blocks,
        channel_multipliers=options.channel_multipliers,
        temporal_downsample=options.halved(),
        num_groups=options.num_groups,
        activation_fn=options.activation_fn,
    )
