"""torch's elastic agent, which starts and watches the ranks of one machine, for ranks that end in order.

torch's own passes a signal on as well, but kills ranks that take longer than 30 seconds to save, and counts the run as
failed however they end. Imports torch; `vidgen.launch` imports this only when it starts processes.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

import torch.distributed.elastic.rendezvous.registry as rendezvous
from torch.distributed.elastic.agent.server import WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.launcher.api import LaunchConfig

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Agent(LocalElasticAgent):
    """A first SIGTERM or Ctrl-C goes to every rank, which finishes its step, saves and ends; how the run ended is then
    what their statuses say, and nothing is started again. `run` raises SignalException, and ends the ranks, at a
    second signal, after `patience` seconds, or when there is no rank yet to tell."""

    def __init__(self, config: LaunchConfig, arguments: Sequence[str], patience: float) -> None:
        """arguments: of Python, for each rank."""
        assert config.logs_specs is not None, "torch fills it in"
        super().__init__(_spec(config, arguments), config.logs_specs)
        self._patience = patience
        self._told: tuple[signal.Signals, float] | None = None

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        started: dict[int, Any] = super()._start_workers(worker_group)
        for number in SIGNALS:  # torch has just set its own
            signal.signal(number, self._pass_on)
        return started

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        if self._told is not None and time.monotonic() > self._told[1]:
            raise SignalException(f"ranks still run after {self._patience:g} s", sigval=self._told[0])
        return super()._monitor_workers(worker_group)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        group, told = self.get_worker_group(), signal.Signals(number)
        if self._told is not None or group.state != WorkerState.HEALTHY:
            raise SignalException(f"stopped by {told.name}", sigval=told)
        self._told = told, time.monotonic() + self._patience
        self._remaining_restarts = 0
        for worker in group.workers:
            with suppress(ProcessLookupError):  # it ended this moment
                os.kill(worker.id, number)


def _spec(config: LaunchConfig, arguments: Sequence[str]) -> WorkerSpec:
    parameters = RendezvousParameters(
        backend=config.rdzv_backend,
        endpoint=config.rdzv_endpoint,
        run_id=config.run_id,
        min_nodes=config.min_nodes,
        max_nodes=config.max_nodes,
        **config.rdzv_configs,
    )
    return WorkerSpec(
        role=config.role,
        local_world_size=config.nproc_per_node,
        entrypoint=sys.executable,
        args=tuple(arguments),
        rdzv_handler=rendezvous.get_rendezvous_handler(parameters),
        max_restarts=config.max_restarts,
        numa_options=config.numa_options,
    )
