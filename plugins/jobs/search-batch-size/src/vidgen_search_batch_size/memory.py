"""Memory as a budget: what exceeds it is an error that can be caught, and never the end of the machine.

A GPU refuses by itself. On a CPU the kernel hands out more than there is, and ends processes when it is used: hence
tensors are counted there while a step is tried for the first time (`vidgen.engine.ledger`), and the step
ends at the operation that goes beyond the budget. That is the same every time, whatever earlier trials have left behind
in the process. Below it hangs a net for a single operation that wants far too much: a limit of the process, at which
allocations fail (RLIMIT_DATA, Linux). A process for each trial would need neither, but would load the model every time.
"""

import gc
import resource
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from vidgen.engine.ledger import Ledger
from vidgen.errors import UserError

MEGABYTE = 1 << 20
SHARE = 0.9  # of free memory, where no limit is given: the rest is for everybody else
STATUS, TOTALS = Path("/proc/self/status"), Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")
SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
"""What torch says when memory does not suffice, where it has no class of error for it: CPU, MPS, cuBLAS, cuDNN."""


def ran_out(error: BaseException) -> bool:
    """Whether this is what happens when memory does not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def free(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.type != "cpu":
        torch.accelerator.empty_cache()


class Budget:
    """megabytes: that may be taken in all; None takes what there is. Made when everything but clips is in memory.

    Raises: UserError, when that is more than there is, or cannot be limited.
    """

    def __init__(self, device: torch.device, megabytes: int | None) -> None:
        self._left: float | None = None  # bytes for what a step needs beside what is there; None: the GPU knows
        self._text = "all that the device has" if megabytes is None else f"{megabytes:,} MB"
        if device.type == "cpu":
            taken = _numbers(STATUS)["VmRSS"]
            _check_room(megabytes, taken)
            self._left = megabytes * MEGABYTE - taken if megabytes else SHARE * _free()
            self._text = f"{self._left / MEGABYTE:,.0f} MB for clips, {taken / MEGABYTE:,.0f} MB for all else"
            # libgomp ends the process when it cannot start a thread: let it have them before the net is hung up
            torch.ones(MEGABYTE).add(1)
        elif megabytes is not None:
            _limit_gpu(device, megabytes)
            _check_room(megabytes, torch.cuda.memory_allocated(device))

    def __str__(self) -> str:
        return self._text

    def counted(self) -> AbstractContextManager[Any]:
        """Inside, the budget is kept to exactly, and slowly. Raises: MemoryError, beyond it."""
        return nullcontext() if self._left is None else Ledger(self._left)

    def net(self) -> AbstractContextManager[None]:
        """Inside, the machine is safe."""
        return nullcontext() if self._left is None else _limited(self._left)


@contextmanager
def _limited(left: float) -> Iterator[None]:
    """As much again as is left, for what is not counted, but never more than there is."""
    room = min(2 * left, _free())
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [_numbers(STATUS)["VmData"] + max(int(room), MEGABYTE), soft, hard]
    resource.setrlimit(resource.RLIMIT_DATA, (min(one for one in limits if one != resource.RLIM_INFINITY), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _check_room(megabytes: int | None, taken: int) -> None:
    if megabytes is not None and megabytes * MEGABYTE <= taken:
        raise UserError(
            f"search.memory_limit_mb: {megabytes:,} leaves no room for clips: {taken / MEGABYTE:,.0f} MB are taken "
            "before the first one. Give more, or leave it out."
        )


def _limit_gpu(device: torch.device, megabytes: int) -> None:
    if device.type != "cuda":
        raise UserError(f"search.memory_limit_mb: memory of a {device.type} device cannot be limited. Leave it out.")
    whole = torch.cuda.get_device_properties(device).total_memory / MEGABYTE
    if megabytes > whole:
        raise UserError(f"search.memory_limit_mb: {megabytes:,} is more than the GPU has: {whole:,.0f}")
    torch.cuda.set_per_process_memory_fraction(megabytes / whole, device)


def _free() -> int:
    """Bytes that nobody uses, of the machine and of the container."""
    free = _numbers(TOTALS)["MemAvailable"]
    try:
        allowed, used = ((GROUP / name).read_text() for name in ("memory.max", "memory.current"))
        return min(free, int(allowed) - int(used))
    except (OSError, ValueError):  # no container, or one that is not limited: `max`
        return free


def _numbers(path: Path) -> dict[str, int]:
    """Bytes by name. Raises: UserError, where there is no such file."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError as error:
        raise UserError(
            f"search: memory of a CPU can be limited on Linux alone ({path} is not there). Search on a GPU."
        ) from error
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if line[-1] == "kB"}
