"""Training of video autoencoders, and measures of what they reconstruct.

Offers the jobs `train-autoencoder` and `reconstruct`. Read whenever vidgen starts, so it holds only names and options;
the recipes are in `vidgen_train_autoencoder.recipe`, training begins in `vidgen_train_autoencoder.train`.
"""

from collections.abc import Iterable

from vidgen import Component, hookimpl

from vidgen_train_autoencoder.recipe import RECONSTRUCT, TRAIN, ReconstructRecipe, TrainAutoencoderRecipe


@hookimpl
def vidgen_jobs() -> Iterable[Component]:
    """The jobs of this plugin."""
    yield Component(
        name=TRAIN,
        summary="Train a video autoencoder: pixels, latents, perception and a discriminator; resumes bit for bit.",
        options=TrainAutoencoderRecipe,
        factory="vidgen_train_autoencoder.train:build",
    )
    yield Component(
        name=RECONSTRUCT,
        summary="Encode and decode clips; files, PSNR and SSIM of each, a sheet of real and reconstructed frames.",
        options=ReconstructRecipe,
        factory="vidgen_train_autoencoder.reconstruct:build",
    )
