"""Steps in which no rank waits: neither for a number from the device, nor at a barrier, nor for an answer."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from parallel_run import run_here
from ranks import on_ranks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from vidgen.engine.train import Training
from vidgen.mesh import World

aten = torch.ops.aten
READS = (aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default, aten.nonzero.default)
FIRST, LAST = 2, 9  # steps between which is counted: after the first ones, which prepare, and before a logged one
AGREEMENT = "agreement.py"
"""Its flag is on the CPU, summed by gloo since the step before: nobody waits for a device."""
CAPTIONS = "captions.py"
"""Looks at masks only where they lie on the CPU, to cut off padding."""
SHARING = ("mesh.py", "shared_reading.py", "encoding.py")
"""Ranks that share tokens tell each other, on the CPU, of the batches that each has read; the tensors themselves are
sent from device to device, for which nobody waits."""


class Reads(TorchDispatchMode):
    """Counts what would wait for a device, by the file of ours that asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in READS:
            self.seen[_asker()] += 1
        return func(*args, **(kwargs or {}))


class Lists(TorchFunctionMode):
    """Counts tensors that become lists or arrays, which no dispatcher sees."""

    def __init__(self, reads: Reads) -> None:
        super().__init__()
        self._reads = reads

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.tolist, torch.Tensor.numpy):
            self._reads.seen[_asker()] += 1
        return func(*args, **(kwargs or {}))


def _asker() -> str:
    frame = sys._getframe(2)
    while frame.f_back is not None and "vidgen" not in frame.f_code.co_filename:
        frame = frame.f_back
    return Path(frame.f_code.co_filename).name


def waits(world: World, cases: dict[str, str], folder: Path) -> dict[str, Counter[str]]:
    """What this rank waited for between two logged steps, with each engine, in a dtype."""
    reads = Reads()
    for name in ("barrier", "monitored_barrier", "all_gather_object", "broadcast_object_list", "gather_object"):
        _count(name, reads)
    changes = {"log.every": 10, "max_steps": 10, "accumulation_steps": 2, "batch_size": 1}
    found = {}
    with Lists(reads), reads:
        for engine, dtype in cases.items():
            case = {"parallel": {"type": engine}, "dtype": dtype, "outputs": str(folder / engine)}
            found[engine] = _between(reads, world, {**changes, **case})
    return found


def _between(reads: Reads, world: World, changes: dict[str, Any]) -> Counter[str]:
    at = dict[int, Counter[str]]()
    honest = Training.train_step

    def watched(self: Training, step_batches: Any) -> None:
        at[self.step] = Counter(reads.seen)
        honest(self, step_batches)

    Training.train_step = watched  # type: ignore[method-assign]
    run_here(world, changes)
    Training.train_step = honest  # type: ignore[method-assign]
    return at[LAST] - at[FIRST]


def _count(name: str, reads: Reads) -> None:
    call = getattr(dist, name)

    def counting(*args: Any, **kwargs: Any) -> Any:
        reads.seen[name] += 1
        return call(*args, **kwargs)

    setattr(dist, name, counting)


def test_between_two_logged_steps_no_rank_waits(tmp_path: Path) -> None:
    """The one number that is read is on the CPU, and was asked for a step before."""
    cases = {"ddp": "fp32", "zero2": "bf16", "zero2-seq": "fp32", "zero3": "fp16"}
    for answers in on_ranks(waits, 2, cases, tmp_path):
        for engine, seen in answers.items():
            for file in (CAPTIONS, *(SHARING if engine == "zero2-seq" else ())):
                seen.pop(file, None)
            assert seen == {AGREEMENT: LAST - FIRST}, engine
