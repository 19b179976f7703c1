"""Step caches chosen by a recipe: for a sample job and within training."""

from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from tiny_run import RECIPE, merged
from vidgen.engine import media

PROMPTS = ["a red circle moving left", "a blue square moving up"]
CACHE = {"type": "timestep-distance", "threshold": 100.0, "max_skipped": 5}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that sampled with a cache at its end."""
    outputs = tmp_path_factory.mktemp("cached") / "run"
    changes = {
        "max_steps": 60,
        "log.every": 30,
        "scheduler.num_sampling_steps": 6,
        "sample": {"prompts": PROMPTS, "step_cache": CACHE},
    }
    vidgen.run(vidgen.load_recipe(merged({**RECIPE, "outputs": str(outputs)}, changes)))
    return outputs


def sampled(trained: Path, outputs: Path, **changes: Any) -> list[torch.Tensor]:
    recipe = {"job": "sample", "checkpoint": str(trained), "prompts": PROMPTS, "seed": 7, "outputs": str(outputs)}
    vidgen.run(vidgen.load_recipe({**recipe, **changes}))
    return [media.read(path) for path in sorted(outputs.glob("*.mp4"))]


def test_a_recipe_chooses_a_cache_and_null_is_exact(trained: Path, tmp_path: Path):
    exact = sampled(trained, tmp_path / "exact")
    none = sampled(trained, tmp_path / "none", step_cache={**CACHE, "threshold": 0.0})
    cached = sampled(trained, tmp_path / "cached", step_cache=CACHE)
    assert len(exact) == 2
    assert all(torch.equal(one, other) for one, other in zip(exact, none, strict=True))
    assert any(not torch.equal(one, other) for one, other in zip(exact, cached, strict=True))


def test_samples_of_another_cache_are_not_taken_for_these(trained: Path, tmp_path: Path):
    sampled(trained, tmp_path / "exact")
    with pytest.raises(vidgen.UserError, match="come from other settings"):
        sampled(trained, tmp_path / "exact", step_cache=CACHE)


def test_training_samples_with_it(trained: Path):
    assert len(list((trained / "samples").rglob("*.mp4"))) == 2


def test_a_misspelt_cache_is_told(trained: Path, tmp_path: Path):
    with pytest.raises(vidgen.RecipeError, match=r"step_cache\.type: no installed plugin offers the step cache"):
        sampled(trained, tmp_path / "wrong", step_cache={"type": "timestep-distances"})
