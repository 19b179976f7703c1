"""Whole runs on a GPU: every engine learns what one process on the CPU learns, and dtypes work."""

import csv
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import vidgen
from tiny_run import RECIPE, merged

STEPS = 6
INSTALLED = {one.metadata["Name"] for one in metadata.distributions()}
ENGINES = [
    "single",
    "ddp",
    "zero2",
    "zero3",
    pytest.param(
        "colossalai/zero2",
        marks=pytest.mark.skipif("colossalai" not in INSTALLED, reason="install.sh of vidgen-colossalai was not run"),
    ),
]
Losses = Callable[..., list[float]]


@pytest.fixture
def losses(tmp_path: Path) -> Losses:
    """Trains the small recipe, changed, in a folder of its own; gives the loss of each step."""

    def trained(name: str, **changes: Any) -> list[float]:
        outputs = tmp_path / name
        vidgen.run(vidgen.load_recipe(merged(RECIPE, {"max_steps": STEPS, "outputs": str(outputs), **changes})))
        with (outputs / "metrics.csv").open() as file:
            return [float(row["loss"]) for row in csv.DictReader(file)]

    return trained


@pytest.mark.parametrize("engine", ENGINES)
def test_a_gpu_learns_what_the_cpu_learns(engine: str, losses: Losses) -> None:
    """The same draws, float32: rounding alone differs."""
    parallel = {"type": engine, **({"hybrid_adam": False} if "/" in engine else {"device": "cuda"})}
    cpu = losses("cpu", parallel={"type": "single", "device": "cpu"})
    assert losses("gpu", parallel=parallel) == pytest.approx(cpu, rel=1e-2)
    assert len(cpu) == STEPS


@pytest.mark.parametrize("engine", ENGINES)
def test_bf16_learns_about_the_same(engine: str, losses: Losses) -> None:
    parallel = {"type": engine, **({"hybrid_adam": False} if "/" in engine else {"device": "cuda"})}
    wide, narrow = (losses(dtype, parallel=parallel, dtype=dtype) for dtype in ("fp32", "bf16"))
    assert narrow == pytest.approx(wide, rel=0.1) and narrow != wide


@pytest.mark.skipif("colossalai" not in INSTALLED, reason="install.sh of vidgen-colossalai was not run")
def test_hybrid_adam_is_adamw(losses: Losses) -> None:
    """Builds ColossalAI's kernels, which takes minutes the first time."""
    mine, theirs = (
        losses(str(hybrid), parallel={"type": "colossalai/zero2", "hybrid_adam": hybrid}) for hybrid in (False, True)
    )
    assert theirs == pytest.approx(mine, rel=1e-3)


@pytest.mark.skipif("colossalai" not in INSTALLED, reason="install.sh of vidgen-colossalai was not run")
def test_a_run_of_colossalai_goes_on_with_another_engine(losses: Losses) -> None:
    colossal = {"type": "colossalai/zero2", "hybrid_adam": False}
    whole = losses("whole", parallel=colossal)
    losses("cut", parallel=colossal, max_steps=3)
    continued = losses("cut", parallel={"type": "zero2", "device": "cuda"}, max_steps=STEPS, resume="latest")
    assert continued == pytest.approx(whole, rel=1e-3)
