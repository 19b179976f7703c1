"""Measures of sampled clips, folder by folder.

Offers the job `evaluate`. Read whenever vidgen starts, so it holds only names and options; the recipe is in
`vidgen_evaluate.recipe`, the job in `vidgen_evaluate.job`.
"""

from collections.abc import Iterable

from vidgen import Component, hookimpl

from vidgen_evaluate.recipe import EVALUATE, EvaluateRecipe


@hookimpl
def vidgen_jobs() -> Iterable[Component]:
    """The job of this plugin."""
    yield Component(
        name=EVALUATE,
        summary="Measure the clips of a folder: alone, against references, against another folder; tables, a sheet.",
        options=EvaluateRecipe,
        factory="vidgen_evaluate.job:build",
    )
