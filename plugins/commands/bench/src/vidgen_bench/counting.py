"""What a sampler asks of torch while it runs: operations on tensors, and values for which the host has to wait."""

from collections.abc import Callable
from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Model = Callable[..., Tensor]
aten = torch.ops.aten
WAITS = (
    aten._local_scalar_dense.default,  # .item(), float(), bool(), a number taken out of a tensor
    aten.is_nonzero.default,
    aten.equal.default,
    aten.nonzero.default,  # this and what follows: the result's size is in the data
    aten.masked_select.default,
    aten._unique2.default,
    aten.repeat_interleave.Tensor,
)
COPIES = (aten._to_copy.default, aten.copy_.default)
READS = (Tensor.tolist, Tensor.numpy)  # what lies on the CPU is read past the dispatcher


class Operations(TorchDispatchMode):
    """While active, notes each operation that reaches torch's dispatcher, views included: true where the host waits for
    its result, or would if the tensors lay on an accelerator."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let it run and note it."""
        out = func(*args, **(kwargs or {}))
        self.seen.append(func in WAITS or _picks(func, args) or (func in COPIES and _to_host(args, out)))
        return out


class Reads(TorchFunctionMode):
    """While active, counts how often tensors become lists or arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count it and let it run."""
        self.count += func in READS
        return func(*args, **(kwargs or {}))


@frozen
class Loop:
    """The steps of a sampler without what comes before. operations: of a step, from one call of the model to the next,
    with those of the model. waits: of all steps and what comes after."""

    operations: float
    waits: int


def loop(sample: Callable[[Model], object], model: Model) -> Loop:
    """Run a sampler, which calls the model at least twice, and count from the first call on."""
    operations, reads = Operations(), Reads()
    starts, read_before = list[int](), list[int]()

    def noted(*args: Any, **conditioning: Any) -> Tensor:
        starts.append(len(operations.seen))
        read_before.append(reads.count)
        return model(*args, **conditioning)

    with reads, operations:
        sample(noted)
    waits = sum(operations.seen[starts[0] :]) + reads.count - read_before[0]
    return Loop((starts[-1] - starts[0]) / (len(starts) - 1), waits)


def _picks(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether rows are chosen by a mask."""
    if func is not aten.index.Tensor:
        return False
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _to_host(args: tuple[Any, ...], out: Tensor) -> bool:
    """copy_ has the target first, and returns it."""
    return out.device.type == "cpu" and any(isinstance(arg, Tensor) and arg.device.type != "cpu" for arg in args)
