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
from tiny_run import merged
from vidgen.testing import write_clip

TINY: dict[str, Any] = {
    "type": "VideoAutoencoderPipeline",
    "vae_2d": {
        "config": {
            "block_out_channels": [4, 4],
            "down_block_types": ["DownEncoderBlock2D"] * 2,
            "up_block_types": ["UpDecoderBlock2D"] * 2,
            "layers_per_block": 1,
            "latent_channels": 4,
            "norm_num_groups": 2,
        }
    },
    "vae_temporal": {
        "filters": 4,
        "num_res_blocks": 1,
        "channel_multipliers": [1, 2],
        "temporal_downsample": [True],
        "num_groups": 2,
    },
}
RECIPE: dict[str, Any] = {
    "job": "train-autoencoder",
    "seed": 7,
    "batch_size": 2,
    "num_workers": 0,
    "num_frames": 3,
    "image_size": [12, 16],
    "dataset": {"type": "moving-shapes", "rows": 6},
    "vae": TINY,
    "optimizer": {"lr": 1e-2, "warmup_steps": 2},
    "log": {"every": 1},
    "checkpoint": {"every": 0},
    "evaluate": None,
    "max_steps": 4,
}


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
