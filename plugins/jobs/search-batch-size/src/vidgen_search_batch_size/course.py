"""The course of a search: bucket after bucket, with the recipe written as far as it is known."""

import logging
import platform
from collections.abc import Mapping

import torch
from vidgen.engine.session import Session, write_recipe
from vidgen.errors import RunError
from vidgen.interfaces import Context

from vidgen_search_batch_size.found import LEFT_OUT, Result, recipe_text
from vidgen_search_batch_size.plan import Plan
from vidgen_search_batch_size.recipe import SEARCH, SearchRecipe
from vidgen_search_batch_size.spans import Span, clip_sizes
from vidgen_search_batch_size.synthetic import largest
from vidgen_search_batch_size.trial import Stopped, Trials

LOG = logging.getLogger("vidgen")
RECIPE = "recipe_found.yaml"


class Search:
    """results: so far. goal: seconds that a step may take; None: any."""

    def __init__(self, recipe: SearchRecipe, trials: Trials, context: Context) -> None:
        self._recipe, self._trials, self._context = recipe, trials, context
        self._plan, parts = Plan(recipe.search), trials.training.parts
        # all clips are looked at before the first is tried: the autoencoder may not take them
        self._clips = {one.key: largest(parts, clip_sizes(one.key, tables_of(recipe))) for one in self._plan.spans}
        self.results: list[Result] = []
        self.goal = self._plan.goal

    def run(self, session: Session) -> None:
        """All buckets in turn, until told to stop. Raises: RunError, when the base has no step to go by."""
        try:
            for span in self._plan.spans:
                result = self._searched(span, session)
                self.results.append(result)
                if self._plan.is_base(span):
                    self._take_goal(result)
                self._write()
        except Stopped:
            done, planned = len(self.results), len(self._plan.spans)
            LOG.warning("stopped by %s: %d of %d buckets are searched", session.stopped, done, planned)

    def check(self) -> None:
        """Raises: RunError, when there is no recipe to write."""
        if self.results and self._text() is None:
            raise RunError(
                f"search: not one bucket has a batch size, so {RECIPE} is not written. Search smaller sizes (a lower "
                "guess, or a wider range), allow more time or memory, set grad_checkpoint: true or dtype: bf16, or "
                "take a smaller model."
            )

    def _searched(self, span: Span, session: Session) -> Result:
        size, tokens = self._clips[span.key]
        tried: list[tuple[int, float | None]] = []

        def measure(batch_size: int) -> float | None:
            self._progress(session, len(tried))
            seconds = self._trials.step_time(size, batch_size, lambda: bool(session.stopped))
            tried.append((batch_size, seconds))
            text = "does not fit in memory" if seconds is None else f"{seconds:.4g} s per step"
            LOG.info("%s, batch size %d: %s", span.name, batch_size, text)
            return seconds

        found = self._plan.search(span, measure, self.goal)
        return Result(key=span.key, size=size, tokens=tokens, trials=tuple(tried), found=found, upper=span.upper)

    def _take_goal(self, base: Result) -> None:
        if not base.found.batch_size:
            raise RunError(
                f"search.base: {base.note(None).removeprefix(LEFT_OUT)}, so there is no step time to go by. Give it a "
                "lower guess, or name another bucket, or set base_step_time."
            )
        self.goal = base.found.step_time
        LOG.info("a step may take %.4g s, as in the base", self.goal)

    def _progress(self, session: Session, tried: int) -> None:
        most = [self._plan.most_trials(span) for span in self._plan.spans]
        session.progress.advance("search", sum(most[: len(self.results)]) + tried, sum(most))

    def _write(self) -> None:
        text, path = self._text(), self._recipe.outputs / RECIPE
        if text is not None:
            write_recipe(path, text)
        else:
            path.unlink(missing_ok=True)  # of a time when there was hope

    def _text(self) -> str | None:
        return recipe_text(self._context.recipe, self.results, goal=self.goal, measured=self._measured())

    def _measured(self) -> list[str]:
        """How, for the reader of the recipe."""
        options, device = self._recipe.search, self._trials.training.parts.device
        steps = f"mean of {options.steps} steps after {options.warm_up_steps}"
        left = [span.name for span in self._plan.spans[len(self.results) :]]
        return [
            f"Batch sizes found by job: {SEARCH}: {self._plan.aim}; {steps}.",
            f"{_device_name(device)}, memory: {self._trials.budget}, torch {torch.__version__}, {self._recipe.dtype}.",
            *([f"Not searched: {'; '.join(left)}."] if left else []),
        ]


def tables_of(recipe: SearchRecipe) -> Mapping[str, list[tuple[int, int]]]:
    """Resolutions of the recipe's own, where its bucketer has such a key."""
    tables: Mapping[str, list[tuple[int, int]]] = getattr(recipe.bucketer.options, "resolutions", {})
    return tables


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"
