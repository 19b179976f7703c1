"""The Python API: build one component, load a recipe, run it."""

from pathlib import Path
from typing import Any

from vidgen.errors import RecipeError, UserError
from vidgen.hookspecs import KINDS
from vidgen.interfaces import Context
from vidgen.recipe import Recipe, load_recipe
from vidgen.recipe.structure import Mistakes, Structurer
from vidgen.registry import Registry

__all__ = ["build", "load_recipe", "run"]


def build(kind: str, type: str, /, **options: Any) -> Any:
    """Build one component outside any recipe.

    kind: `model`, `text_encoder`, `autoencoder`, `scheduler`, ... (`vidgen.hookspecs.KINDS`). type: its name. options:
    as in a recipe's section. Raises: RecipeError, for unknown names and bad options.

    >>> vae = vidgen.build("autoencoder", "pixel", patch=(1, 4, 4))
    """
    if kind not in KINDS:
        raise UserError(f"no such kind of component: {kind!r}. Kinds are {', '.join(KINDS)}.")
    registry = Registry.discover()
    try:
        selection = Structurer(registry, Path()).selection(kind, {"type": type, **options})
    except Mistakes as mistakes:
        raise RecipeError(mistakes.problems) from None
    return registry.build(selection, Context(registry=registry))


def run(recipe: Recipe) -> None:
    """Run a loaded recipe to its end. Raises: UserError, RunError."""
    recipe.registry.build(recipe.job, Context(registry=recipe.registry, recipe=recipe.plain())).run()
