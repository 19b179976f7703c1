"""Batch sizes of a training recipe, found by trying.

Offers the job `search-batch-size`. Read whenever vidgen starts, so it holds only names and options; the recipe is in
`vidgen_search_batch_size.recipe`, the job in `vidgen_search_batch_size.job`.
"""

from collections.abc import Iterable

from vidgen import Component, hookimpl

from vidgen_search_batch_size.recipe import SEARCH, SearchRecipe


@hookimpl
def vidgen_jobs() -> Iterable[Component]:
    """The job of this plugin."""
    yield Component(
        name=SEARCH,
        summary="Find the batch size of every bucket by measuring steps of training; writes the recipe to train with.",
        options=SearchRecipe,
        factory="vidgen_search_batch_size.job:build",
    )
