"""The autoencoder from its options and from what the files of published weights say of them."""

from pathlib import Path

import torch
from vidgen import weights
from vidgen.interfaces import Context
from vidgen_autoencoders.network import DTYPES, start

from vidgen_wfvae import WFVAEOptions
from vidgen_wfvae.autoencoder import WFVAE, Tiling
from vidgen_wfvae.published import described
from vidgen_wfvae.weights import load

CHUNKS, SMALL_CHUNKS = Tiling(encoder=16, decoder=4), Tiling(encoder=8, decoder=4)


def build(options: WFVAEOptions, context: Context) -> WFVAE:
    """The autoencoder with its weights, or with start values that depend on the run's seed alone.

    Raises: UserError, when weights are not found or do not fit; RunError, when a file is damaged.
    """
    device, place = torch.get_default_device(), _place(options, context)
    options = options if place is None else described(options, place)
    with torch.device("meta"):
        network = WFVAE(options, tiling=_tiling(options), micro_batch_size=options.micro_batch_size)
    network.to(DTYPES[options.dtype])
    if place is not None and context.load_weights:
        load(network, place, device)
    start(network, context, device)
    return network


def _place(options: WFVAEOptions, context: Context) -> Path | None:
    if options.from_pretrained is None:
        return None
    return weights.local_folder(
        options.from_pretrained,
        options.subfolder,
        hub_id=options.force_huggingface,
        weighted=context.load_weights,
    )


def _tiling(options: WFVAEOptions) -> Tiling | None:
    if not (options.tiling or options.save_memory):
        return None
    usual = SMALL_CHUNKS if options.save_memory else CHUNKS
    return Tiling(encoder=options.t_chunk_enc or usual.encoder, decoder=options.t_chunk_dec or usual.decoder)
