"""However a model is shared out, and on however many ranks, it learns what one process learns from the same rows."""

from pathlib import Path
from typing import Any

import pytest
from parallel_run import assert_same_course, run_here
from ranks import on_ranks
from vidgen.mesh import World

ROWS = 4  # of a batch, over all ranks

CASES: dict[str, dict[str, Any]] = {
    "ddp": {"parallel": {"type": "ddp"}, "accumulation_steps": 2},
    "zero2": {"parallel": {"type": "zero2"}, "accumulation_steps": 2},
    "zero3": {"parallel": {"type": "zero3"}, "accumulation_steps": 2, "grad_checkpoint": True},
    "zero2-seq": {"parallel": {"type": "zero2-seq", "sp_size": 2}, "accumulation_steps": 2},
}


def train_all(world: World, folder: Path) -> None:
    """Every case on all ranks."""
    for name, changes in CASES.items():
        share = world.size // changes["parallel"].get("sp_size", 1)
        run_here(world, {**changes, "batch_size": ROWS // share, "outputs": str(folder / f"{name}-{world.size}")})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all runs: on one process, and of each case on 2 and 4 ranks."""
    folder = tmp_path_factory.mktemp("equality")
    alone = {"accumulation_steps": 2, "batch_size": ROWS, "outputs": str(folder / "single")}
    run_here(World(), alone)
    for size in (2, 4):
        on_ranks(train_all, size, folder)
    return folder


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_ranks_learn_what_one_process_learns(folder: Path, case: str, size: int) -> None:
    """Six steps of two accumulated batches each, clipped: losses, norms, weights, averages and moments, float32."""
    assert_same_course(folder / "single", folder / f"{case}-{size}")
