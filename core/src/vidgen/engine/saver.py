"""Checkpoints of one run: at once, or in the background while the run goes on."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch.distributed as dist
from attrs import evolve
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from vidgen.engine.checkpoint import Saved, Snapshot, snapshot, write
from vidgen.mesh import LONGEST, World

COPY = StagingOptions(
    use_pinned_memory=False, use_shared_memory=False, use_async_staging=False, use_non_blocking_copy=False
)


class Saver:
    """keep: how many of the newest checkpoints stay. background: copy the state to the CPU, and write it in a thread;
    one at a time. done: told of every checkpoint that is complete, in the main thread."""

    def __init__(
        self, outputs: Path, world: World, *, keep: int | None, background: bool, done: Callable[[Path, int], None]
    ) -> None:
        self._outputs, self._world, self._keep, self._done = outputs, world, keep, done
        self._group = dist.new_group(backend="gloo", timeout=LONGEST) if world.store is not None else None
        self._thread = ThreadPoolExecutor(1, "checkpoint") if background else None
        self._stager = DefaultStager(COPY) if background else None
        self._writing: tuple[Future[Path], int] | None = None

    def save(self, saved: Saved, state: Mapping[str, Any]) -> None:
        """Write a checkpoint, or begin to, once an earlier one is complete. All ranks call this. Raises: RunError."""
        self.finish()
        taken = snapshot(saved, state)
        if self._thread is None or self._stager is None:
            self._done(self._write(taken), state["step"])
            return
        copied: Any = self._stager.stage({"shared": taken.shared, "whole": taken.whole})
        self._writing = self._thread.submit(self._write, evolve(taken, **copied)), state["step"]

    def poll(self) -> None:
        """Tell of what was written meanwhile. Raises: RunError, when that failed."""
        if self._writing is not None and self._writing[0].done():
            self.finish()

    def finish(self) -> None:
        """Wait for what is being written. Raises: RunError, when it cannot be."""
        if self._writing is not None:
            (future, step), self._writing = self._writing, None
            self._done(future.result(), step)

    def _write(self, taken: Snapshot) -> Path:
        return write(self._outputs, taken, self._keep, self._world, self._group)
