"""What both jobs put together."""

from typing import Any

import torch
from attrs import evolve
from vidgen import Selection
from vidgen.errors import UserError
from vidgen.interfaces import Bucketer, Context, Dataset
from vidgen.rng import address

from vidgen_train_autoencoder.critic import build_discriminator
from vidgen_train_autoencoder.mixing import Mixing, check_sizes
from vidgen_train_autoencoder.recipe import ReconstructRecipe, TrainAutoencoderRecipe
from vidgen_train_autoencoder.trainable import check_spatial, check_trainable


def shared_context(recipe: TrainAutoencoderRecipe | ReconstructRecipe, context: Context) -> Context:
    """What every component of a run may know."""
    return evolve(
        context,
        seed=recipe.seed,
        dtype=recipe.dtype,
        outputs=recipe.outputs,
        num_frames=recipe.num_frames,
        image_size=recipe.image_size,
        frame_interval=recipe.frame_interval,
    )


def build_vae(recipe: TrainAutoencoderRecipe, context: Context, mixing: Mixing) -> Any:
    """The autoencoder, on the default device; start values depend on the seed alone.

    Raises: UserError, when it cannot be trained, or not by the losses or the clips of the recipe.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(address(recipe.seed, "initial weights"))
        vae = context.components.build(recipe.vae, context)
    check_trainable(vae, recipe.vae.type)
    check_spatial(vae, recipe.vae.type, recipe)
    if recipe.num_frames is not None and recipe.image_size is not None:
        check_sizes(vae, recipe.vae.type, mixing, (recipe.num_frames, *recipe.image_size))
    return vae


def build_dataset(selection: Selection, context: Context) -> Dataset:
    """Raises: UserError, when it is empty."""
    dataset: Dataset = context.components.build(selection, context)
    if dataset.table.num_rows == 0:
        raise UserError(f"dataset: {selection.type} has no rows")
    return dataset


def build_bucketer(selection: Selection, context: Context) -> Bucketer:
    """Raises: UserError, when its batches hold clips of several sizes."""
    bucketer: Bucketer = context.components.build(selection, context)
    if bucketer.ragged:
        raise UserError(
            f"bucketer: batches of {selection.type} hold clips of different sizes, which no autoencoder is trained "
            "with. Use another one, such as fixed or bucket."
        )
    return bucketer


def build_on_meta(recipe: TrainAutoencoderRecipe, context: Context) -> dict[str, str]:
    """What a dry run says; built without memory or weights. Raises: UserError, as `build_vae`."""
    mixing = Mixing(strategy=recipe.mixed_strategy, image_ratio=recipe.mixed_image_ratio, seed=recipe.seed)
    with torch.device("meta"):
        facts = describe(recipe, build_vae(recipe, evolve(context, load_weights=False), mixing))
        if recipe.discriminator is not None:
            critic = build_discriminator(recipe.discriminator, recipe.seed)
            facts["discriminator"] = f"{sum(p.numel() for p in critic.parameters()):,} parameters"
    return facts


def describe(recipe: TrainAutoencoderRecipe, vae: Any) -> dict[str, str]:
    """What is told of an autoencoder and its input."""
    total = sum(p.numel() for p in vae.parameters())
    trained = sum(p.numel() for p in vae.parameters() if p.requires_grad)
    facts = {"parameters": f"{total:,} ({trained:,} trained)"}
    if recipe.num_frames is not None and recipe.image_size is not None:
        latent = vae.latent_size((recipe.num_frames, *recipe.image_size))
        facts["latent size"] = " x ".join(map(str, (vae.latent_channels, *latent)))
    return facts
