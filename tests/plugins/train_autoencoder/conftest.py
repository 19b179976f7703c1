"""Fixtures that train and use a tiny autoencoder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
import yaml
from autoencoder_run import RECIPE
from tiny_run import merged
from vidgen.testing import write_clip


@pytest.fixture
def recipe_of(tmp_path: Path) -> Callable[..., Any]:
    """Load the tiny recipe, changed; runs write below tmp_path."""

    def load(outputs: str = "run", **changes: Any) -> Any:
        flat = {key.replace("__", "."): value for key, value in changes.items()}
        return vidgen.load_recipe(merged(RECIPE, {"outputs": str(tmp_path / outputs), **flat}))

    return load


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Run the tiny recipe, changed, as a process of its own."""

    def start(**changes: Any) -> subprocess.Popen[str]:
        flat = {key.replace("__", "."): value for key, value in changes.items()}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(merged(RECIPE, flat)))
        command = [sys.executable, "-m", "vidgen.run", str(tmp_path / "recipe.yaml"), f"outputs={tmp_path / 'run'}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    return start


@pytest.fixture
def train(recipe_of: Callable[..., Any]) -> Callable[..., Path]:
    """Run the tiny recipe, changed; returns its folder."""

    def run(outputs: str = "run", **changes: Any) -> Path:
        recipe = recipe_of(outputs, **changes)
        vidgen.run(recipe)
        return recipe.job.options.outputs

    return run


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder with two videos, one of them in a subfolder, and a picture that no latents divide."""
    generator = torch.Generator().manual_seed(1)
    for name, (frames, rows, columns) in {"a": (5, 14, 16), "sub/b": (3, 12, 20), "still": (1, 13, 19)}.items():
        coarse = torch.rand(3, frames, 4, 4, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, (rows, columns), mode="bilinear")
        write_clip(tmp_path / "clips" / name, smooth.mul(255).to(torch.uint8))
    return tmp_path / "clips"


@pytest.fixture
def reconstruct(tmp_path: Path) -> Callable[..., Path]:
    """Run a reconstruct recipe; returns its folder."""

    def run(outputs: str = "out", **keys: Any) -> Path:
        recipe = vidgen.load_recipe({"job": "reconstruct", "outputs": str(tmp_path / outputs), **keys})
        vidgen.run(recipe)
        return tmp_path / outputs

    return run
