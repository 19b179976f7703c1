"""Samples from within training: with the averaged weights, beside real clips, measured."""

import logging
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

from attrs import evolve

from vidgen.engine.comparison import Comparison
from vidgen.engine.ema import Ema, averaged
from vidgen.engine.marking import refusals
from vidgen.engine.parts import Parts
from vidgen.engine.sampler import build_metrics, make_sampler, measure
from vidgen.engine.session import Session
from vidgen.engine.tasks import clip_size
from vidgen.errors import UserError
from vidgen.interfaces import Context, Dataset, Media, Metric
from vidgen.recipe.load import recipe_hash
from vidgen.recipe.schema import TrainingSampleOptions, TrainRecipe
from vidgen.weights import fingerprint

LOG = logging.getLogger("vidgen")


class TrainingSamples:
    """What a training recipe's `sample` asks for. ema: averaged weights, where there are any."""

    def __init__(
        self,
        parts: Parts,
        options: TrainingSampleOptions,
        recipe: TrainRecipe,
        context: Context,
        dataset: Dataset,
        ema: Ema | None,
    ) -> None:
        self.options = options
        self._parts, self._recipe, self._context, self._dataset = parts, recipe, context, dataset
        self._ema = ema if options.ema else None
        self._check()

    def _check(self) -> None:
        """What is asked for, now and not at the first sampling. Raises: UserError. Captions of the dataset, which are
        not read yet, are empty here."""
        captions = [""] * self.options.from_data
        options = evolve(self.options, prompts=[*captions, *self.options.prompts], prompt_refiner=None)
        sampler = make_sampler(self._parts, options, self._recipe, "", lambda *_: None, self._context)
        tasks = sampler.tasks(self._recipe.outputs)
        sampler.check(tasks)
        self._check_captions(build_metrics(options, self._context, [task.prompt for task in tasks if task.prompt]))

    def _check_captions(self, metrics: Sequence[Metric]) -> None:
        """A warning, for rows that are too short to be sampled are among these; and training is worth it without."""
        table = self._dataset.table
        texts = (
            table.column("text").slice(0, self.options.from_data).to_pylist() if "text" in table.column_names else []
        )
        for refused in (refusals(metric, (text or "" for text in texts)) for metric in metrics):
            if refused:
                why = next(iter(refused.values()))
                LOG.warning("sample.from_data: %d of the first captions cannot be marked: %s", len(refused), why)

    def make(self, step: int, session: Session, stopped: Callable[[], bool]) -> None:
        """Sample, write and measure; every rank its share, the main one tells of all."""
        seen = self._comparison
        options = evolve(self.options, prompts=[*seen.captions, *self.options.prompts])
        folder = self._recipe.outputs / "samples" / f"step{step}"
        with averaged(self._ema):
            made_by = fingerprint(self._parts.model)  # of shares: asking for the state of a whole model shares it out
            with self._parts.parallel.whole():
                samples = evolve(self._sampler(options, session), made_by=made_by).run(folder, stopped)
        if not self._parts.parallel.world.is_main:
            return
        shown = seen.beside(samples, folder)
        session.hooks.vidgen_samples_written(step=step, samples=shown)
        if not session.stopped and (options.metrics or seen.captions):
            session.scores(step, {**self._measured(samples), **seen.scores(samples)})

    def _measured(self, samples: Sequence[Media]) -> dict[str, float]:
        """A metric that has no use for a clip ends no training."""
        try:
            return measure(self.options, samples, self._context)
        except UserError as error:
            LOG.warning("sample.metrics: %s", error)
            return {}

    @cached_property
    def _comparison(self) -> Comparison:
        """The clips that samples are shown beside; read when first sampled, and kept."""
        size = partial(clip_size, self.options, self._recipe)
        return Comparison(self._parts, self._dataset, self.options, seed=self._recipe.seed, size=size)

    def _sampler(self, options: TrainingSampleOptions, session: Session) -> Any:
        settings, progress = recipe_hash(self._context.recipe), session.progress.advance
        return make_sampler(self._parts, options, self._recipe, settings, progress, self._context)
