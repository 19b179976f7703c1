"""The components that both jobs put together, and how they meet: through the numbers each declares."""

import json
from functools import partial
from math import prod
from typing import Any

import torch
from attrs import evolve, frozen

from vidgen import aspect
from vidgen.attention import use_backend
from vidgen.component import Selection
from vidgen.engine.adapting import adapt
from vidgen.errors import UserError
from vidgen.interfaces import Adapter, Autoencoder, Bucketer, Context, Dataset, Parallel, Scheduler, Size3
from vidgen.mesh import share_tokens
from vidgen.recipe.load import recipe_hash
from vidgen.recipe.schema import SharedRecipe, TrainRecipe
from vidgen.rng import address


@frozen
class Encoders:
    """What makes features of clips and captions, frozen, on the device. latent_size: (T, H, W), None if sizes vary."""

    parallel: Parallel
    vae: Any  # an Autoencoder that is a torch.nn.Module: no one type says both
    text_encoder: Any  # likewise
    latent_size: Size3 | None

    @property
    def device(self) -> torch.device:
        """Where everything is."""
        return self.parallel.device


@frozen
class Parts(Encoders):
    """All built components of a run."""

    model: Any  # a Model that is a torch.nn.Module
    scheduler: Scheduler
    adapters: tuple[Adapter, ...] = ()  # of the model


def shared_context(recipe: SharedRecipe, context: Context) -> Context:
    """What every component of a run may know."""
    return evolve(
        context,
        seed=recipe.seed,
        dtype=recipe.dtype,
        outputs=recipe.outputs,
        num_frames=None if recipe.num_frames is None else aspect.num_frames(recipe.num_frames),
        image_size=recipe.image_size,
        frame_interval=recipe.frame_interval,
    )


def build_parallel(selection: Selection, context: Context) -> Parallel:
    """A recipe's parallel engine, connected to all ranks, which must run the same recipe by the same code.

    Raises: UserError, RunError.
    """
    parallel: Parallel = context.components.build(selection, context)
    parallel.world.check_same("recipe", recipe_hash(context.recipe))
    parallel.world.check_same("code", json.dumps({**context.components.versions(), "torch": torch.__version__}))
    return parallel


def build_encoders(
    recipe: SharedRecipe, context: Context, *, parallel: Parallel | None = None, device: torch.device | None = None
) -> Encoders:
    """Build autoencoder and text encoder. parallel: the engine, where it is built already. device: instead of its.

    Raises: UserError.
    """
    registry = context.components
    parallel = parallel or build_parallel(recipe.parallel, context)
    known = evolve(context, rank=parallel.rank, num_ranks=parallel.num_ranks)
    vae, text_encoder = registry.build(recipe.vae, known), registry.build(recipe.text_encoder, known)
    for encoder in (vae, text_encoder):
        encoder.to(device or parallel.device).requires_grad_(False).eval()
    return Encoders(parallel, vae, text_encoder, _latent_size(vae, recipe))


def build_parts(
    recipe: SharedRecipe, context: Context, *, parallel: Parallel | None = None, device: torch.device | None = None
) -> Parts:
    """Build autoencoder, text encoder, model and scheduler, each knowing what the ones before it declare.

    parallel: the engine, where it is built already. device: instead of its (`meta` in a dry run). The model's initial
    weights depend on the seed alone. Raises: UserError, when the pieces do not fit.
    """
    registry, encoders = context.components, build_encoders(recipe, context, parallel=parallel, device=device)
    known = model_context(context, encoders)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(address(recipe.seed, "initial weights"))
        model = registry.build(recipe.model, known)
    adapters = adapt(model, recipe.adapters, known)
    use_backend(model, registry.build(recipe.attention, known))
    share_tokens(model, encoders.parallel.tokens)
    if recipe.compile:
        compile_blocks(model)
    scheduler = registry.build(recipe.scheduler, evolve(known, out_channels=model.out_channels))
    return Parts(
        encoders.parallel,
        encoders.vae,
        encoders.text_encoder,
        encoders.latent_size,
        model.to(device or encoders.device),
        scheduler,
        adapters,
    )


def model_context(context: Context, encoders: Encoders) -> Context:
    """What models, and what is put on them, may know besides: of the encoders, and of the ranks."""
    return evolve(
        data_context(context, encoders),
        latent_channels=encoders.vae.latent_channels,
        latent_size=encoders.latent_size,
        text_width=encoders.text_encoder.width,
        text_length=encoders.text_encoder.max_length,
    )


def data_context(context: Context, encoders: Encoders) -> Context:
    """What datasets and bucketers may know besides: of the autoencoder, and of the ranks."""
    parallel = encoders.parallel
    return evolve(context, rank=parallel.rank, num_ranks=parallel.num_ranks, latent_stride=encoders.vae.stride)


def build_dataset(context: Context, recipe: TrainRecipe) -> Dataset:
    """The recipe's dataset. context: see `data_context`. Raises: UserError, when it is empty."""
    dataset: Dataset = context.components.build(recipe.dataset, context)
    if dataset.table.num_rows == 0:
        raise UserError(f"dataset: {recipe.dataset.type} has no rows")
    return dataset


def build_bucketer(context: Context, recipe: TrainRecipe, parts: Parts) -> Bucketer:
    """The recipe's bucketer, which knows how many tokens the model makes of a clip. context: see `data_context`.

    Raises: UserError, when its batches hold clips of several sizes and the model takes none such.
    """
    check_told(recipe, parts)
    bucketer: Bucketer = context.components.build(recipe.bucketer, evolve(context, tokens=partial(tokens, parts)))
    if bucketer.ragged and "valid" not in parts.model.conditioning:
        raise UserError(
            f"bucketer: batches of {recipe.bucketer.type} hold clips of different sizes, which {recipe.model.type} "
            "cannot be trained with: it takes no `valid`. Use another bucketer, such as bucket, or another model."
        )
    return bucketer


def check_told(recipe: TrainRecipe, parts: Parts) -> None:
    """Raises: UserError, when a model is to be told what it does not take: of given frames, or of dropped captions."""
    told, name = parts.model.conditioning, recipe.model.type
    if recipe.mask_ratios is not None and "x_mask" not in told:
        other = "say frame_masks instead" if "video_mask" in told else "use a model that does, such as STDiT2 or STDiT3"
        raise UserError(
            f"mask_ratios: {name} cannot be told which frames are given: it takes no `x_mask`. Leave mask_ratios out, "
            f"or {other}."
        )
    if recipe.frame_masks is not None and "video_mask" not in told:
        other = "say mask_ratios instead" if "x_mask" in told else "use a model that is, such as OpenSoraInpaint_v1_3"
        raise UserError(
            f"frame_masks: {name} is shown no frames beside the noise: it takes no `video_mask`. Leave frame_masks "
            f"out, or {other}."
        )
    if recipe.dropped_captions != [""] and "drop_caption" in told:
        raise UserError(
            f"dropped_captions: {name} has a null caption of its own, which dropped captions become: leave it out."
        )
    if "video_mask" in told and recipe.features is not None and recipe.features.mode != "off":
        raise UserError(
            f"features: {name} is shown frames of its clips, which are drawn anew for every step, so that their pixels "
            "are needed: leave features out."
        )


def tokens(parts: Parts, size: Size3) -> int:
    """Tokens that the model makes of one clip of `size`, video (T, H, W).

    Raises: UserError, when the autoencoder cannot take it.
    """
    return prod(token_grid(parts.vae.latent_size(size), parts.model.patch_size))


def compile_blocks(model: Any) -> None:
    """Compile each repeated block, from outside: names in the state dict stay, and recomputation goes around it."""
    for block in model.repeated_blocks():
        block.forward = torch.compile(block.forward)


def build_on_meta(recipe: SharedRecipe, context: Context) -> Parts:
    """The parts without memory or weights, for a dry run."""
    meta = torch.device("meta")
    with meta:
        return build_parts(recipe, evolve(context, load_weights=False), device=meta)


def describe(parts: Parts) -> dict[str, str]:
    """What a dry run says of the model and its input."""
    total = sum(p.numel() for p in parts.model.parameters())
    trained = sum(p.numel() for p in parts.model.parameters() if p.requires_grad)
    facts = {"parameters": f"{total:,} ({trained:,} trained)"}
    if parts.latent_size is not None:
        channels = parts.model.latent_channels
        facts["latent size"] = " x ".join(map(str, (channels, *parts.latent_size)))
        grid = token_grid(parts.latent_size, parts.model.patch_size)
        facts["tokens per sample"] = f"{prod(grid):,} ({' x '.join(map(str, grid))})"
    return facts


def token_grid(latent_size: Size3, patch_size: Size3) -> list[int]:
    """Tokens along time, rows and columns; a last patch may be partly padding."""
    return [-(-size // patch) for size, patch in zip(latent_size, patch_size, strict=True)]


def _latent_size(vae: Autoencoder, recipe: SharedRecipe) -> Size3 | None:
    if recipe.num_frames is None or recipe.image_size is None:
        return None
    return vae.latent_size((aspect.num_frames(recipe.num_frames), *recipe.image_size))
