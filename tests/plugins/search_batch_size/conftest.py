"""A search small enough to make many of."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import vidgen
from tiny_run import RECIPE
from vidgen.recipe.source import read_yaml
from vidgen_search_batch_size.memory import STATUS

SEARCH: dict[str, Any] = {
    "job": "search-batch-size",
    "num_frames": None,
    "image_size": None,
    "model": {"type": "STDiT3", "hidden_size": 16, "depth": 1, "num_heads": 2, "patch_size": [1, 1, 1]},
    "bucketer": {
        "type": "bucket",
        "resolutions": {"tiny": [[8, 8], [8, 12], [12, 4]], "small": [[16, 16]]},
        "bucket_config": {"tiny": {1: [0.5, 1], 2: [[0.75, 0.25], 1]}, "small": {2: [1.0, 1], 3: [0.0, None]}},
    },
    "search": {
        "bucket_config": {"tiny": {1: [5, 2], 2: [4, 3]}, "small": {2: [2, 1]}},
        "warm_up_steps": 1,
        "steps": 1,
    },
}
Load = Callable[..., Any]


def changed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The small search with keys changed; `__` stands for a dot. Their order stays: buckets are searched in it."""
    data = deepcopy({**RECIPE, **SEARCH})
    for key, value in changes.items():
        *sections, last = key.split("__")
        reduce(dict.__getitem__, sections, data)[last] = value
    return data


@pytest.fixture
def recipe_of(tmp_path: Path) -> Load:
    """Load the small search, changed; it writes below tmp_path."""
    return lambda outputs="found", **keys: vidgen.load_recipe(changed({"outputs": str(tmp_path / outputs), **keys}))


@pytest.fixture
def search(recipe_of: Load) -> Callable[..., dict[str, Any]]:
    """Run it; returns the recipe that it wrote."""

    def run(outputs: str = "found", **keys: Any) -> dict[str, Any]:
        recipe = recipe_of(outputs, **keys)
        vidgen.run(recipe)
        return read_yaml(recipe.job.options.outputs / "recipe_found.yaml").data

    return run


@pytest.fixture
def taken() -> int:
    """Megabytes of this process."""
    lines = STATUS.read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) // 1024
