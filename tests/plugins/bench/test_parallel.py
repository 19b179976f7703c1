"""Bytes that ranks send: the formulas against what is handed to torch.distributed in a step."""

from math import prod
from pathlib import Path
from typing import Any

import pytest
from parallel_run import run_here
from ranks import on_ranks
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from vidgen.engine.train import Training
from vidgen.mesh import World
from vidgen_bench.parallel import ENGINES, Cluster, Engine, Job, scaling, traffic

MODEL = {"type": "STDiT3", "hidden_size": 16, "depth": 3, "num_heads": 4, "patch_size": [1, 2, 2]}
JOB: dict[str, Any] = {
    "model": MODEL,
    "num_frames": 8,
    "image_size": [16, 32],
    "batch_size": 2,
    "accumulation_steps": 2,
    "max_steps": 3,
    "log.every": 50,
}
COUNTED = 1  # the second step


class Sent(TorchDispatchMode):
    """Adds up what this rank sends, of each kind, if collectives send no more than they must."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = {"gathered": 0.0, "summed": 0.0, "exchanged": 0.0}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        if name == "c10d::_allgather_base_":
            self.bytes["gathered"] += _size(args[0]) - _size(args[1])
        elif name == "c10d::_reduce_scatter_base_":
            self.bytes["summed"] += _size(args[1]) - _size(args[0])
        elif name == "c10d::allreduce_" and args[0][0].ndim == 1 and args[0][0].numel() > 1:  # no norm, no flag
            self.bytes["summed"] += 2 * _size(args[0][0]) * (self.ranks - 1) / self.ranks
        elif name == "c10d::alltoall_base_":
            self.bytes["exchanged"] += _size(args[1]) * (1 - 1 / len(args[1]))
        elif name == "c10d::allgather_":
            self.bytes["exchanged"] += _size(args[1][0]) * (len(args[0][0]) - 1)
        return func(*args, **(kwargs or {}))

    ranks = 1


def _size(value: Tensor) -> int:
    return value.numel() * value.element_size()


Counted = tuple[dict[str, float], int, int]
"""Bytes of one step of this rank; and parameters, as they are filled up to divide by the ranks, and as they are."""


def sent_by_all(world: World, folder: Path) -> dict[Engine, Counted]:
    """By every engine in turn."""
    return {engine: sent(world, engine, folder) for engine in ENGINES}


def sent(world: World, engine: Engine, folder: Path) -> Counted:
    """Train a few steps and count in one."""
    counter = Sent()
    counter.ranks = world.size
    found: list[Any] = []
    honest = Training.train_step

    def watched(self: Training, step_batches: Any) -> None:
        before = dict(counter.bytes)
        honest(self, step_batches)
        if self.step == COUNTED + 1:
            found.append({name: value - before[name] for name, value in counter.bytes.items()})
            parameters = list(self.model.parameters())
            found.append(sum(-(-len(one) // world.size) * world.size * prod(one.shape[1:]) for one in parameters))
            found.append(sum(one.numel() for one in parameters))

    Training.train_step = watched  # type: ignore[method-assign]
    with counter:
        run_here(world, {**JOB, "parallel": {"type": engine}, "outputs": str(folder / f"{engine}-{world.size}")})
    Training.train_step = honest  # type: ignore[method-assign]
    return found[0], found[1], found[2]


@pytest.fixture(scope="module", params=[2, 4])
def counted_on(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Any]:
    """Ranks, and what the first of them sends."""
    return request.param, on_ranks(sent_by_all, request.param, tmp_path_factory.mktemp("sent"))[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_bytes_are_those_that_are_counted(counted_on: tuple[int, Any], engine: Engine) -> None:
    size, answers = counted_on
    counted, filled_up, parameters = answers[engine]
    assert parameters <= filled_up < 1.01 * parameters
    job = Job(
        parameters=parameters if engine == "ddp" else filled_up,
        blocks=3,
        width=16,
        out=4 * 2 * 48,
        frames=8,
        places=2 * 4,
        clips=2,
        batches=2,
        itemsize=4,
    )
    expected = traffic(engine, job, size, sp_size=2)
    assert (counted["gathered"], counted["summed"], counted["exchanged"]) == pytest.approx(
        (expected.gathered, expected.summed, expected.exchanged), rel=2e-3
    )


def test_more_ranks_send_hardly_more_but_over_slower_wires() -> None:
    job = Job(parameters=10**9, blocks=28, width=1152, out=32, frames=15, places=1590, flops=2e9)
    rows = {(row.engine, row.ranks): row for row in scaling(job, Cluster(), (8, 16, 1024))}
    few, more, many = (rows["zero2", ranks] for ranks in (8, 16, 1024))
    assert few.traffic.total == pytest.approx(10**9 * 6 * 7 / 8)
    assert few.traffic.total < many.traffic.total < 10**9 * 6
    assert few.together > more.apart > many.apart
    assert rows["zero3", 8].traffic.total > few.traffic.total
    assert rows["zero2-seq", 8].traffic.exchanged > 0 == few.traffic.exchanged
