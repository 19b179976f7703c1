"""A run small enough to make many of, and what tests ask of its folder."""

import copy
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

RECIPE: dict[str, Any] = {
    "job": "train",
    "seed": 7,
    "batch_size": 3,
    "num_workers": 0,
    "num_frames": 2,
    "image_size": [8, 16],
    "dataset": {"type": "moving-shapes", "rows": 8},
    "model": {"type": "STDiT", "hidden_size": 16, "depth": 1, "num_heads": 2, "patch_size": [1, 1, 1]},
    "vae": {"type": "pixel", "patch": [1, 4, 4]},
    "text_encoder": {"type": "hashed-words", "width": 8},
    "scheduler": {"type": "rflow", "num_sampling_steps": 2},
    "optimizer": {"lr": 1e-2, "warmup_steps": 2},
    "ema": {"decay": 0.8},
    "log": {"every": 1},
    "checkpoint": {"every": 0},
    "max_steps": 6,
}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with dotted keys changed."""
    data = yaml.safe_load(yaml.safe_dump(base))
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = data
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = copy.deepcopy(value)  # later keys may go into it
    return data


def tensors_of(outputs: Path, step: int) -> dict[str, torch.Tensor]:
    """Weights, averages and optimizer state of a checkpoint."""
    (folder,) = (outputs / "checkpoints").glob(f"*-global_step{step}")
    return {
        f"{path.parent.name}/{name}": tensor
        for path in folder.glob("*/*.safetensors")
        for name, tensor in load_file(path).items()
    }


def assert_same_state(one: Path, other: Path, step: int) -> None:
    """Two runs' checkpoints agree bit for bit."""
    mine, theirs = tensors_of(one, step), tensors_of(other, step)
    assert mine.keys() == theirs.keys() and len(mine) > 10
    different = [name for name in mine if not torch.equal(mine[name], theirs[name])]
    assert not different


def loss_log(outputs: Path) -> list[list[str]]:
    """metrics.csv without the columns that depend on the clock."""
    rows = [line.split(",") for line in (outputs / "metrics.csv").read_text().splitlines()]
    kept = [
        i
        for i, name in enumerate(rows[0])
        if name not in ("samples_per_s", "tokens_per_s", "data_wait", "encode_share")
    ]
    return [[row[i] for i in kept] for row in rows]


def start(folder: Path, changes: dict[str, object]) -> subprocess.Popen[str]:
    """The small recipe, changed, through the command line as a process of its own."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(merged(RECIPE, changes)))
    command = [sys.executable, "-m", "vidgen.run", str(recipe)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until a running process has made `path`."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"{path} was never made"
        time.sleep(0.05)
