"""From prompts to files: plan, make what is missing, write, measure. Used by the sample job and within training."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from vidgen import weights
from vidgen.conditioning.long_video import carried, check_long
from vidgen.conditioning.named import translate
from vidgen.conditioning.strategy import check_loop
from vidgen.conditioning.timeline import Reference, timeline
from vidgen.engine import media
from vidgen.engine.generation import Generation, LongVideo
from vidgen.engine.given import make_giving
from vidgen.engine.grid import write_grids
from vidgen.engine.marking import check_prompts, refusals
from vidgen.engine.parts import Parts
from vidgen.engine.reference_files import ReferenceFiles
from vidgen.engine.references import References
from vidgen.engine.refining import refined
from vidgen.engine.tasks import Task, batches, plan
from vidgen.engine.texts import EncodedTexts
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context, Media, Metric, PromptRefiner, Size3
from vidgen.recipe.schema import SampleOptions, SharedRecipe

LOG = logging.getLogger("vidgen")


class _Stopped(Exception):
    """In the middle of a batch, of which nothing is kept."""


@frozen(kw_only=True)
class Sampler:
    """Samples what `options` ask for. recipe_hash: goes into the files' metadata. refiner: None: prompts are taken as
    they are. made_by: the weights' fingerprint, for one who knows that they are still those; None: worked out by
    every `run`, half a second for 130 million parameters."""

    parts: Parts
    options: SampleOptions
    recipe: SharedRecipe
    recipe_hash: str
    generation: Generation = field(repr=False)
    references: References = field(repr=False)
    refiner: PromptRefiner | None = None
    made_by: str | None = None

    def run(self, folder: Path, stopped: Callable[[], bool] = lambda: False, *, strict: bool = False) -> list[Media]:
        """Make what is not in `folder` yet, batch by batch, each rank its share; all ranks call this. Returns every
        sample that is there, made now or before, in the order of the prompts.

        strict: refuse a folder with files of these names that were made otherwise (UserError), instead of leaving them
        with a warning.
        """
        tasks = self.tasks(folder)
        made_by = self.made_by or weights.fingerprint(self.parts.model)
        done = [task for task in tasks if self._final(task).exists()]
        self._check_done(done, made_by, strict)
        left = [task for task in tasks if task not in done]
        self.check(left)
        parallel = self.parts.parallel
        parallel.world.barrier()  # every rank has seen what is there, before another one adds to it
        self._make_all(left, made_by, lambda: parallel.tokens.any(stopped()))
        parallel.world.barrier()
        return self._made(tasks, parallel.world.is_main)

    def _make_all(self, left: Sequence[Task], made_by: str, stopped: Callable[[], bool]) -> None:
        """This rank's share of what is left."""
        parallel = self.parts.parallel
        share = list(batches(left, self.options.batch_size))[parallel.rank :: parallel.num_ranks]
        mine = refined([task for batch in share for task in batch], self.options, self.refiner)
        self.generation.texts.prepare(text for task in mine for text in _texts(task))
        for batch in batches(mine, self.options.batch_size):
            if stopped():
                return
            try:
                self._make(batch, made_by, stopped)
            except _Stopped:
                return

    def _made(self, tasks: Sequence[Task], is_main: bool) -> list[Media]:
        """What is there of all. The main rank tells what is not, and writes grids of what is."""
        left = [task for task in tasks if not self._final(task).exists()]
        if left and is_main:
            LOG.warning("not sampled: %s", "; ".join(task.prompt for task in left))
        missing = {task.path for task in left}
        made = [Media(self._final(task), task.prompt, self._size(task)) for task in tasks if task.path not in missing]
        if self.options.grid is not None and not left and is_main:
            write_grids(made, self.options.grid, self.options.upscale)
        return made

    def tasks(self, folder: Path) -> list[Task]:
        """Every sample asked for, with the frames that `conditions` give. Raises: UserError."""
        tasks = plan(self.options, self.recipe, folder)
        for task in tasks:
            for name in task.references:
                self.references.check(name)
        return [self._conditioned(task) for task in tasks] if self.options.conditions else tasks

    def _conditioned(self, task: Task) -> Task:
        time, count = self.generation.giving.time(task.size), self.references.num_frames
        found = translate(self.options.conditions, time, count, task.references)
        for name in found.references:
            self.references.check(name)
        for note in found.notes:
            LOG.warning("%s", note)
        for number, given in enumerate(found.given):
            check_loop(given.loop, len(task.texts), f"conditions[{number}].loop: it")
        return evolve(task, references=found.references, given=(*task.given, *found.given))

    def check(self, tasks: Sequence[Task]) -> None:
        """Before anything is made. Raises: UserError, when a size cannot be had, clips cannot be joined, or the model
        cannot be given frames."""
        giving, long = self.generation.giving, self.generation.long
        for task in tasks:
            self.parts.vae.latent_size(task.size)
            check_long(long.length, len(task.texts), giving.time(task.size))
            giving.check(task.given, len(task.texts), long.edit)
            if task.given:
                self._check_given(task)

    def _check_given(self, task: Task) -> None:
        """Reads how long references are. Raises: UserError, RunError, naming the prompt."""
        try:
            self.drawing(task)
        except (UserError, RunError) as error:
            raise type(error)(f"prompt {task.prompt!r}: {error}") from error

    def drawing(self, task: Task) -> str:
        """Which frames of a sample are given, in words and characters. Reads the references' lengths."""
        giving, long, loops = self.generation.giving, self.generation.long, len(task.texts)
        time, count = giving.time(task.size), self.references.num_frames
        named = [Reference(name, time.count_reference(name, count(name))) for name in task.references]
        named += [Reference("the clip before", time.latents)] if loops > 1 else []
        given = [*task.given, *(carried(loop, len(named), long.length, long.edit) for loop in range(1, loops))]
        align = giving.align(task.size)
        return timeline(given, named, time.latents, loops, align, clip=giving.clip, unit=time.unit)

    def _make(self, tasks: Sequence[Task], made_by: str, stopped: Callable[[], bool]) -> None:
        """Write one batch, piece by piece. Ranks that share its tokens all come to the same; the first one writes."""
        training = self.parts.model.training
        written = tasks if self.parts.parallel.tokens.rank == 0 else []
        self.parts.model.eval()
        try:
            with ExitStack() as files:
                opened = [files.enter_context(self._file(task, made_by)) for task in written]
                for piece in self.generation.clips(tasks):
                    for file, video in zip(opened, media.to_pixels(piece).cpu(), strict=False):
                        file.append(video)
                    if stopped():
                        raise _Stopped
        finally:
            self.parts.model.train(training)

    def _file(self, task: Task, made_by: str) -> media.ClipFile:
        said = {"prompt": task.prompt, **({"refined": list(task.refined)} if task.refined else {})}
        origin = {**said, **self._origin(task, made_by)}
        return media.ClipFile(self._final(task), fps=task.save_fps, provenance=origin, upscale=self.options.upscale)

    def _origin(self, task: Task, made_by: str) -> dict[str, Any]:
        return {"seed": task.seed, "recipe": self.recipe_hash, "weights": made_by, "sample": task.hash}

    def _size(self, task: Task) -> Size3:
        return (self.generation.total_frames(task.size, len(task.texts)), *task.size[1:])

    def _final(self, task: Task) -> Path:
        return media.final_path(task.path, self._size(task)[0], self.options.image_format)

    def _check_done(self, done: Sequence[Task], made_by: str, strict: bool) -> None:
        others = [task for task in done if not self._is_same(task, made_by)]
        if len(others) < len(done):
            LOG.info("samples that are there already, and stay as they are: %d", len(done) - len(others))
        if others:
            text = (
                f"files there come from other settings, weights or prompts ({len(others)}, the first of them "
                f"{self._final(others[0])}): choose another outputs folder or sample_name, or delete them."
            )
            if strict:
                raise UserError(text)
            LOG.warning("%s", text)

    def _is_same(self, task: Task, made_by: str) -> bool:
        found: Mapping[str, Any] = media.provenance(self._final(task))
        return all(found.get(key) == value for key, value in self._origin(task, made_by).items())


def make_sampler(
    parts: Parts,
    options: SampleOptions,
    recipe: SharedRecipe,
    recipe_hash: str,
    progress: Callable[[str, int, int], None],
    context: Context,
) -> Sampler:
    """A sampler of what `options` ask for, which are silent where the recipe speaks."""
    chosen, refiner = options.step_cache, options.prompt_refiner
    references = References(parts, ReferenceFiles.of(options))
    clip = options.mask_strategy_format != "v1.1"
    generation = Generation(
        parts=parts,
        texts=EncodedTexts(parts.text_encoder, parts.parallel.autocast),
        giving=make_giving(parts, references, model=recipe.model.type, align=options.align, clip=clip),
        long=LongVideo(length=options.condition_frame_length, edit=options.condition_frame_edit),
        progress=progress,
        step_cache=None if chosen is None else context.components.build(chosen, context),
    )
    return Sampler(
        parts=parts,
        options=options,
        recipe=recipe,
        recipe_hash=recipe_hash,
        generation=generation,
        references=references,
        refiner=None if refiner is None else context.components.build(refiner, context),
    )


def build_metrics(options: SampleOptions, context: Context, prompts: Sequence[str] = ()) -> list[Metric]:
    """Fresh metrics, as the options name them. prompts: of clips that they are to mark. Raises: UserError, for one that
    compares, as samples have no references, or that cannot mark a prompt."""
    metrics: list[Metric] = []
    for selection in options.metrics:
        metric: Metric = context.components.build(selection, context)
        if metric.needs_reference:
            raise UserError(
                f"metrics: {selection.type} compares clips with references, and samples have none: leave it out here, "
                "and measure the written clips by job: evaluate, with references"
            )
        check_prompts(metric, prompts)
        metrics.append(metric)
    return metrics


def measure(options: SampleOptions, samples: Sequence[Media], context: Context) -> dict[str, float]:
    """What the options' metrics say of clips as they lie on disk; those that a metric cannot mark are left out of what
    it says, with a warning."""
    scores: dict[str, float] = {}
    for metric in build_metrics(options, context):
        refused = refusals(metric, (sample.prompt for sample in samples))
        marked = [sample for sample in samples if sample.prompt not in refused]
        if refused:
            why = next(iter(refused.values()))
            LOG.warning("metrics: %d of %d samples not marked: %s", len(samples) - len(marked), len(samples), why)
        for sample in marked:
            metric.update(media.read(sample.path, options.upscale, sample.size[1:]), sample.prompt)
        scores |= metric.compute()
    return scores


def _texts(task: Task) -> list[str]:
    return [*task.encoded, *([] if task.negative is None else [task.negative])]
