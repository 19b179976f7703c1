"""`job: sample`: prompts to clips."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from attrs import evolve
from rich.console import Console

from vidgen import runfolder, weights
from vidgen.engine import adapting, checkpoint
from vidgen.engine.memory import peak_memory
from vidgen.engine.offload import Offload, carrier_to
from vidgen.engine.parts import Parts, build_on_meta, build_parallel, build_parts, describe, shared_context
from vidgen.engine.sampler import Sampler, build_metrics, make_sampler, measure
from vidgen.engine.session import Session, logging_to, owned_folder
from vidgen.engine.tasks import Task, plan
from vidgen.interfaces import Context, Parallel, RunInfo
from vidgen.mesh import World
from vidgen.recipe.load import recipe_hash
from vidgen.recipe.schema import SampleRecipe

LOG = logging.getLogger("vidgen")
NO_PART_OF_A_SAMPLE = (
    *("prompts", "prompt_path", "num_samples", "batch_size", "trackers", "metrics", "start_index", "end_index"),
    *("sample_name", "prompt_as_path", "reference_path", "mask_strategy", "mask_strategy_format", "allow_download"),
    *("num_frames", "image_size", "resolution", "aspect_ratio", "seed", "fps", "aes", "flow", "camera_motion"),
    *("prompt_template", "parallel", "grid", "offload_blocks"),
)
"""Keys that say which samples are made, or are part of each one's own hash."""


def build(options: SampleRecipe, context: Context) -> "SampleJob":
    """The job; nothing is loaded before it runs."""
    return SampleJob(options, context)


class SampleJob:
    """Weights come from `checkpoint` where the recipe names one, else from the model's own `from_pretrained`."""

    def __init__(self, recipe: SampleRecipe, context: Context) -> None:
        self.recipe = recipe
        self.context = shared_context(recipe, context)

    def run(self) -> None:
        """Sample, write, measure."""
        outputs = self.recipe.outputs
        tasks = plan(self.recipe, self.recipe, outputs)  # a mistake in a prompt is told before weights are read
        build_metrics(self.recipe, self.context, [task.prompt for task in tasks])
        parallel = build_parallel(self.recipe.parallel, self.context)
        with (
            owned_folder(outputs, parallel.world),
            logging_to(outputs, parallel.world) as console,
            self._session(console, parallel.world) as session,
        ):
            sampler = self._sampler(loaded_parts(self.recipe, self.context, parallel), session)
            samples = sampler.run(outputs, lambda: bool(session.stopped), strict=True)
            peak = peak_memory(sampler.parts.device)
            LOG.info("peak memory: %s", ", ".join(f"{megabytes:,.0f} MB ({what})" for what, megabytes in peak.items()))
            session.hooks.vidgen_samples_written(step=0, samples=samples)
            if self.recipe.metrics and not session.stopped and parallel.world.is_main:
                session.scores(0, measure(self.recipe, samples, self.context))

    def dry_run(self) -> Mapping[str, str]:
        """See `interfaces.Job`."""
        parts = build_on_meta(self.recipe, self.context)
        sampler = make_sampler(parts, self.recipe, self.recipe, "", lambda *_: None, self.context)
        tasks = sampler.tasks(self.recipe.outputs)
        sampler.check(tasks)
        build_metrics(self.recipe, self.context, [task.prompt for task in tasks])
        drawings = dict.fromkeys(sampler.drawing(task) for task in tasks if task.given or len(task.texts) > 1)
        return {
            **_described(parts, tasks),
            "samples": str(len(tasks)),
            "denoising steps": str(parts.scheduler.num_sampling_steps),
            **{f"given frames{f' {i}' if i else ''}": drawing for i, drawing in enumerate(drawings)},
            "outputs": str(self.recipe.outputs),
        }

    def _session(self, console: Console, world: World) -> Session:
        return Session(RunInfo("sample", self.recipe.outputs), self.recipe.trackers, self.context, console, world)

    def _sampler(self, parts: Parts, session: Session) -> Sampler:
        settings = settings_hash(self.context.recipe)
        return make_sampler(parts, self.recipe, self.recipe, settings, session.progress.advance, self.context)


def _described(parts: Parts, tasks: Sequence[Task]) -> dict[str, str]:
    """As `describe`, but of the clips that are asked for, each of which may have a size of its own."""
    sizes = list(dict.fromkeys(task.size for task in tasks))
    facts = describe(evolve(parts, latent_size=None))
    for frames, rows, columns in sizes:
        latent_size = parts.vae.latent_size((frames, rows, columns))
        told = {"size": f"{frames} x {rows} x {columns}", **describe(evolve(parts, latent_size=latent_size))}
        of = "" if len(sizes) == 1 else f" of {told.pop('size')}"
        facts |= {key if key in facts else f"{key}{of}": value for key, value in told.items()}
    return facts


def loaded_parts(recipe: SampleRecipe, context: Context, parallel: Parallel | None = None) -> Parts:
    """All parts, with the weights of the recipe's checkpoint, or of the model's own `from_pretrained`. context: see
    `shared_context`. parallel: the engine, where it is built already. Raises: UserError, RunError."""
    folder = recipe.checkpoint
    first = torch.device("cpu") if recipe.offload_blocks else None
    parallel = parallel or build_parallel(recipe.parallel, context)
    if folder is None:
        if context.load_weights and getattr(recipe.model.options, "from_pretrained", None) is None:
            LOG.warning("model: neither checkpoint nor model.from_pretrained is given; its weights are start values")
        parts = build_parts(recipe, context, parallel=parallel, device=first)
        adapting.check_filled(parts.model, parts.adapters)
    else:
        parts = _from_checkpoint(recipe, runfolder.find_checkpoint(folder), context, parallel, first)
    parts = evolve(parts, adapters=adapting.merge(parts.model, parts.adapters))
    if recipe.offload_blocks:
        _offload(parts)
    return parts


def _from_checkpoint(
    recipe: SampleRecipe, folder: Path, context: Context, parallel: Parallel, device: torch.device | None
) -> Parts:
    """The first adapters are the checkpoint's, as many as it has; the others bring their own weights, and are put on
    the loaded model."""
    state = runfolder.read_state(folder)
    held = len(state["recipe"].get("adapters", ()))
    bare = evolve(recipe, adapters=recipe.adapters[:held])
    parts = build_parts(bare, evolve(context, load_weights=False), parallel=parallel, device=device)
    checkpoint.check_prediction(folder, state, recipe.scheduler, parts.scheduler.prediction_type)
    adapting.check_same(folder, parts.model, parts.adapters)
    weights.load_into(parts.model, folder, ema=recipe.ema)
    further = adapting.adapt(parts.model, recipe.adapters[held:], context, first=held)
    adapting.check_filled(parts.model, further)
    return evolve(parts, adapters=(*parts.adapters, *further))


def _offload(parts: Parts) -> None:
    """Of parts on the CPU, move everything to its device but the model's blocks, which go there in turn."""
    if parts.device.type == "cpu":
        LOG.warning("offload_blocks: the blocks are where they are used, in the CPU's memory; nothing is gained")
        return
    parts.vae.to(parts.device)
    parts.text_encoder.to(parts.device)
    Offload(parts.model, carrier_to(parts.device))


def settings_hash(plain: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that name what all samples of a recipe have in common."""
    return recipe_hash({key: value for key, value in plain.items() if key not in NO_PART_OF_A_SAMPLE})
