"""Work in processes that are ended when they hang: each task has an answer within a time, whatever the task does."""

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from attrs import frozen
from vidgen.errors import RunError

CHUNK = 16
STARTING = 120.0
"""Seconds a new process may take before it answers."""

TaskT = TypeVar("TaskT")


@frozen
class Lost:
    """A task without an answer, and why."""

    reason: str


def answers(
    function: Callable[[TaskT], Any], tasks: Iterable[TaskT], *, workers: int | None, timeout: float
) -> Iterator[tuple[TaskT, Any]]:
    """(task, function(task)) in any order; `Lost` in place of the answer after `timeout` seconds, or when the process
    died of it.

    function: importable by name. workers: processes; None makes one for each core. Raises: RunError, when processes
    cannot start.
    """
    waiting = iter(tasks)
    pool = [_Worker(function, timeout) for _ in range(workers or os.cpu_count() or 1)]
    try:
        while True:
            for worker in pool:
                if not worker.pending:
                    worker.give(list(islice(waiting, CHUNK)))
            busy = {worker.connection: worker for worker in pool if worker.pending}
            if not busy:
                return
            soonest = min(worker.deadline for worker in busy.values())
            for connection in wait(list(busy), max(0.0, soonest - time.monotonic())):
                yield from busy[connection].receive()  # type: ignore[index]  # what was given comes back
            for worker in busy.values():
                yield from worker.give_up_if_late()
    finally:
        for worker in pool:
            worker.stop()


class _Worker(Generic[TaskT]):
    """A process, started with its first tasks. pending: tasks without an answer, in order."""

    def __init__(self, function: Callable[[TaskT], Any], timeout: float) -> None:
        self._function, self._timeout = function, timeout
        self._process: Any = None
        self._ready = False
        self.connection: Connection
        self.pending: deque[TaskT] = deque()
        self.deadline = 0.0

    def give(self, tasks: list[TaskT]) -> None:
        """Take on tasks."""
        if not tasks:
            return
        self.pending.extend(tasks)
        if self._process is None:
            self._start()
        self.connection.send(tasks)
        self._wait_for_next()

    def receive(self) -> list[tuple[TaskT, Any]]:
        """What the process sent: an answer, nothing when it has just started, or that it died."""
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            return [self._replace(self._death())]
        if not self._ready:
            self._ready = True
            self._wait_for_next()
            return []
        self._wait_for_next()
        return [(self.pending.popleft(), answer)]

    def give_up_if_late(self) -> list[tuple[TaskT, Any]]:
        """End the process when the task it is on took too long."""
        if not self.pending or time.monotonic() < self.deadline or self.connection.poll():
            return []
        return [self._replace(f"no answer within {self._timeout:g} seconds")]

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self.connection.close()
            self._process = None

    def _start(self) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._function), daemon=True)
        self._process.start()
        theirs.close()
        self._ready = False

    def _wait_for_next(self) -> None:
        self.deadline = time.monotonic() + (self._timeout if self._ready else STARTING)

    def _death(self) -> str:
        self._process.join()
        code = self._process.exitcode
        return f"the process that read it died ({f'signal {-code}' if code < 0 else f'status {code}'})"

    def _replace(self, reason: str) -> tuple[TaskT, Lost]:
        """A new process for the tasks after the one that is lost."""
        if not self._ready:
            raise RunError(f"a process that reads files does not start: {reason}")
        self.stop()
        lost, rest = self.pending.popleft(), list(self.pending)
        self.pending.clear()
        self.give(rest)
        return lost, Lost(reason)


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    """The process: answers tasks until the other side is gone. An interrupt is for the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        connection.send(None)
        while True:
            for task in connection.recv():
                connection.send(function(task))
    except (EOFError, OSError):
        return
