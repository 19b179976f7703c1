"""`job: search-batch-size`: sets the search up, and says what came of it."""

import logging
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve
from vidgen.engine.parts import Parts, build_bucketer, build_on_meta, describe, shared_context
from vidgen.engine.session import Session, logging_to, owned_folder, write_recipe
from vidgen.errors import UserError
from vidgen.interfaces import Context, RunInfo
from vidgen.recipe.source import dump_yaml

from vidgen_search_batch_size.course import RECIPE, Search, tables_of
from vidgen_search_batch_size.found import show
from vidgen_search_batch_size.plan import Plan
from vidgen_search_batch_size.recipe import SEARCH, SearchRecipe
from vidgen_search_batch_size.spans import Span, clip_sizes
from vidgen_search_batch_size.synthetic import largest
from vidgen_search_batch_size.trial import Trials

LOG = logging.getLogger("vidgen")


def build(options: SearchRecipe, context: Context) -> "SearchJob":
    """The job; nothing is loaded before it runs."""
    return SearchJob(options, context)


class SearchJob:
    """Leaves the recipe in the run's folder, ready to train with; also when it is stopped before the end."""

    def __init__(self, recipe: SearchRecipe, context: Context) -> None:
        self.recipe = recipe
        self.context = evolve(shared_context(recipe, context), batch_size=recipe.batch_size)

    def run(self) -> None:
        """Search, print the table. Raises: UserError, when an earlier search has left its recipe there."""
        outputs = self.recipe.outputs
        _refuse_to_replace(outputs / RECIPE)
        with owned_folder(outputs), logging_to(outputs) as console:
            write_recipe(outputs / "recipe.yaml", dump_yaml(dict(self.context.recipe)))
            trials = Trials(self.recipe, self.context)
            facts = {**describe(trials.training.parts), "memory": str(trials.budget)}
            LOG.info("%s", ", ".join(f"{name}: {value}" for name, value in facts.items()))
            search = Search(self.recipe, trials, self.context)
            try:
                with Session(RunInfo(SEARCH, outputs), [], self.context, console) as session:
                    search.run(session)
            finally:
                show(search.results, search.goal)
            search.check()
            if search.results:
                LOG.info("vidgen-run %s trains with what was found", outputs / RECIPE)

    def dry_run(self) -> Mapping[str, str]:
        """See `interfaces.Job`."""
        parts, plan = build_on_meta(self.recipe, self.context), Plan(self.recipe.search)
        build_bucketer(self.context, self.recipe, parts)
        trials = {span.name: self._planned(span, plan, parts) for span in plan.spans}
        return {**describe(parts), **trials, "aim": plan.aim, "outputs": str(self.recipe.outputs / RECIPE)}

    def _planned(self, span: Span, plan: Plan, parts: Parts) -> str:
        size, tokens = largest(parts, clip_sizes(span.key, tables_of(self.recipe)))
        clip = f"of {' x '.join(map(str, size))}, {tokens:,} tokens"
        if not plan.is_searched(span):
            return f"batch size {span.guess} {clip}: taken as given"
        first, most = (span.lower + span.upper) // 2, plan.most_trials(span)
        return f"batch size {span.lower} to {span.upper} {clip}: {first} first, at most {most} trials"


def _refuse_to_replace(path: Path) -> None:
    if path.exists():
        raise UserError(
            f"outputs: {path} is there already, from an earlier search. Move it away, or choose another folder with "
            "outputs=FOLDER."
        )
