"""Whole training runs on the ranks of `ranks.on_ranks`, and what they leave in their folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import vidgen
from tiny_run import RECIPE, merged
from vidgen import runfolder, weights
from vidgen.mesh import World

WIDE = {
    "dataset.rows": 48,
    "model": {"type": "STDiT3", "hidden_size": 12, "depth": 2, "num_heads": 3, "patch_size": [1, 2, 2]},
    "optimizer": {"lr": 1e-2, "warmup_steps": 2, "eps": 1e-4, "grad_clip": 0.5},
}
"""Changes of the small recipe: fewer heads than ranks, gradients that are clipped, and an epsilon far
above rounding errors, which Adam would blow up to whole steps where a gradient is zero."""


def run_here(world: World, changes: Mapping[str, Any]) -> Path:
    """Train the small recipe, changed, on all ranks of `world`, which may do so several times. Returns the folder."""
    return run_on(world, merged(RECIPE, {**WIDE, **changes}), changes.get("max_steps"))


def run_on(world: World, data: Mapping[str, Any], max_steps: int | None) -> Path:
    """Run a recipe on all ranks of `world`. max_steps: tells it from others of the same folder."""
    recipe = vidgen.load_recipe(data)
    outputs: Path = recipe.job.options.outputs
    if world.size > 1:
        from vidgen_zero import engine

        store = dist.PrefixStore(f"{outputs}/{max_steps}", world.store)
        engine.connect = lambda _: World(world.rank, world.size, world.local_rank, store)  # it is connected already
    vidgen.run(recipe)
    return outputs


def everything_in(outputs: Path) -> dict[str, torch.Tensor]:
    """Weights, averages and optimizer state of a run's newest checkpoint, whole, whoever wrote it."""
    newest = runfolder.latest(outputs)
    assert newest is not None
    found = {}
    for folder in ("model", "ema", "optimizer"):
        path = newest / folder
        whole = [path / f"{name}.safetensors" for name in ("model", "optimizer")]
        state = weights.read_state(next((one for one in whole if one.exists()), path))
        found.update({f"{folder}/{name}": value for name, value in state.items()})
    return found


def numbers_in(outputs: Path, *columns: str) -> torch.Tensor:
    """Columns of metrics.csv, (steps, columns)."""
    header, *lines = [line.split(",") for line in (outputs / "metrics.csv").read_text().splitlines()]
    return torch.tensor([[float(line[header.index(name)]) for name in columns] for line in lines])


def assert_same_course(one: Path, other: Path, *, atol: float = 1e-5, rtol: float = 1e-5) -> None:
    """Two runs' losses, gradient norms, weights, averages and moments agree."""
    columns = ("step", "loss", "grad_norm", "lr")
    torch.testing.assert_close(numbers_in(one, *columns), numbers_in(other, *columns), atol=atol, rtol=rtol)
    mine, theirs = everything_in(one), everything_in(other)
    assert mine.keys() == theirs.keys() and any("exp_avg_sq" in name for name in mine)
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], atol=atol, rtol=rtol, msg=lambda text, n=name: f"{n}: {text}")
