"""bf16 and fp16 on several ranks: working weights in it, masters and sums in float32, one loss scale for all."""

from pathlib import Path
from typing import Any

import pytest
import torch
from parallel_run import everything_in, numbers_in, run_here
from ranks import on_ranks
from torch import Tensor, nn
from vidgen.mesh import TokenGroup, World
from vidgen_zero.engine import Stage, Zero

CASES: dict[str, dict[str, Any]] = {
    "bf16": {"dtype": "bf16", "parallel": {"type": "zero2"}},
    "fp16": {"dtype": "fp16", "parallel": {"type": "zero3"}},
}


def train_all(world: World, folder: Path) -> None:
    """Every case on all ranks; on one in the same dtype."""
    for name, changes in CASES.items():
        how = changes if world.size > 1 else {**changes, "parallel": {"type": "single"}}
        run_here(world, {**how, "batch_size": 4 // world.size, "outputs": str(folder / f"{name}-{world.size}")})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all runs, on 1 and 2 ranks."""
    folder = tmp_path_factory.mktemp("low")
    train_all(World(), folder)
    on_ranks(train_all, 2, folder)
    return folder


@pytest.mark.parametrize(("case", "rounding"), [("bf16", 2**-7), ("fp16", 2**-10)])
def test_ranks_learn_what_one_process_learns_but_for_rounding(folder: Path, case: str, rounding: float) -> None:
    """Autocast rounds one process's weights as gathering rounds those of several; gradients are summed otherwise."""
    alone, shared = (numbers_in(folder / f"{case}-{size}", "loss") for size in (1, 2))
    torch.testing.assert_close(alone, shared, rtol=2 * rounding, atol=0)


@pytest.mark.parametrize("case", CASES)
def test_what_is_kept_is_float32(folder: Path, case: str) -> None:
    assert {value.dtype for value in everything_in(folder / f"{case}-2").values()} == {torch.float32}


def steps_with_an_overflow(world: World, stage: Stage) -> list[tuple[Tensor, float, float]]:
    """Two steps of a small map in fp16. In the first, one gradient of rank 0, which lies on one rank, is infinite.
    Returns weights, loss scale and norm after each."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 5, bias=False))
    engine = Zero(
        stage=stage,
        device=torch.device("cpu"),
        dtype=torch.float16,
        world=world,
        tokens=(TokenGroup(), world.rank, world.size),
        offload=False,
    )
    engine.prepare(model, lambda one: torch.optim.AdamW(one.parameters(), lr=0.1, fused=True))
    seen = []
    for peak in (1e5, 1.0):
        weight = torch.ones(5)
        weight[4] = peak if world.is_main else 1.0
        engine.backward((model(torch.ones(1, 3).half()).float() * weight).sum())
        norm = engine.step(0.0)
        whole = model[0].weight.full_tensor().detach().clone()
        seen.append((whole, engine.state_dict()["scaler"]["scale"], float(norm)))
    return seen


@pytest.mark.parametrize("stage", ["ddp", "zero2", "zero3"])
def test_a_step_that_overflows_on_one_rank_is_left_out_on_all(stage: Stage) -> None:
    torch.manual_seed(3)
    fresh = nn.Linear(3, 5, bias=False).weight
    for overflowed, after in on_ranks(steps_with_an_overflow, 2, stage):
        torch.testing.assert_close(overflowed[0], fresh, rtol=0, atol=0)
        assert overflowed[1:] == (32768.0, 0.0), "half the scale, and no norm"
        assert (after[0] - fresh).abs().min() > 0.09, "the next step counts"
        assert after[1] == 32768.0 and after[2] == pytest.approx(15**0.5)
