"""Fixtures that load and run the small recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import vidgen
from tiny_run import RECIPE, merged
from vidgen.recipe import Recipe


@pytest.fixture
def recipe_of(tmp_path: Path) -> Callable[..., Recipe]:
    """Load the small recipe, changed; runs write below tmp_path."""

    def load(outputs: str = "run", **changes: Any) -> Recipe:
        flat = {key.replace("__", "."): value for key, value in changes.items()}
        return vidgen.load_recipe(merged(RECIPE, {"outputs": str(tmp_path / outputs), **flat}))

    return load


@pytest.fixture
def train(recipe_of: Callable[..., Any]) -> Callable[..., Path]:
    """Run the small recipe, changed; returns its folder."""

    def run(outputs: str = "run", **changes: Any) -> Path:
        recipe = recipe_of(outputs, **changes)
        vidgen.run(recipe)
        return recipe.job.options.outputs

    return run
