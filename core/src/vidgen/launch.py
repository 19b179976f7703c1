"""Starting a recipe as several processes, by torch's own elastic launcher; and how a process of it says why it ended.

One machine: `vidgen-run RECIPE --nproc 8`. Several: the same on each with `--nnodes 2 --rdzv-endpoint HOST:29400`, or
under SLURM `srun vidgen-run RECIPE`, one process a task, which needs no launcher. `torchrun -m vidgen.run RECIPE` does
the same. Imports torch only when it starts processes.
"""

import json
import logging
import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from vidgen.errors import RunError, UserError

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"  # where torch's launcher looks for what a process has to say
SIGNALS = {-9: "it was killed (SIGKILL), perhaps for want of memory", -15: "it was ended (SIGTERM)"}
LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "recvValue failed")
"""What torch says on a rank whose neighbour has died."""
GRACE = 5.0  # seconds in which the launcher finds the one that died first, and ends this one
ORDERLY = 600.0  # seconds in which ranks finish a step and save, after a signal
FIRST_PORT, PORTS = 20_000, 20_000  # for SLURM jobs, which know each other by their number


@frozen
class Launch:
    """nproc: processes on this machine, one a GPU. nnodes: machines, on each of which the same command is started.
    rdzv_endpoint: HOST:PORT of one of several machines, where they find each other. max_restarts: how often all are
    started again when one dies."""

    nproc: int
    nnodes: int = 1
    rdzv_endpoint: str | None = None
    max_restarts: int = 0


def launch(arguments: Sequence[str], options: Launch) -> None:
    """Run `python -m vidgen.run ARGUMENTS` as several processes and wait for them. After SIGTERM or Ctrl-C they save
    and end; when all end well, so does this.

    Raises: UserError or RunError, with the first process's own words, when one failed; KeyboardInterrupt.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.launcher.api import LaunchConfig

    from vidgen.agent import Agent

    if options.nnodes > 1 and options.rdzv_endpoint is None:
        raise UserError("--nnodes: several machines find each other at --rdzv-endpoint HOST:PORT, one of them")
    config = LaunchConfig(
        min_nodes=options.nnodes,
        max_nodes=options.nnodes,
        nproc_per_node=options.nproc,
        run_id=_run_id(options),
        rdzv_backend="c10d",
        rdzv_endpoint=options.rdzv_endpoint or "localhost:0",
        max_restarts=options.max_restarts,
    )
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what it has to say is told below
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // options.nproc)))
    agent = Agent(config, ["-m", "vidgen.run", *arguments], ORDERLY)
    try:
        result = agent.run()
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise RunError(f"stopped by {error.sigval.name}, before all ranks had saved; resume=latest goes on") from None
    agent.get_worker_group().spec.rdzv_handler.shutdown()
    if result.is_failed():
        rank, failure = min(result.failures.items(), key=lambda one: one[1].timestamp)
        raise _told(rank, failure.exitcode, failure.error_file)


def end_with_launcher(seconds: float = 2.0) -> None:
    """Stop this process as SIGTERM does, so that it saves, once the launcher that started it is gone: one that was
    killed ends nobody, and its ranks would train on and hold the run's folder. seconds: between two looks."""
    if ERROR_FILE in os.environ:
        threading.Thread(target=_wait_for_end_of, args=(os.getppid(), seconds), daemon=True).start()


def _wait_for_end_of(launcher: int, seconds: float) -> None:
    while os.getppid() == launcher:
        time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGTERM)


def leave_word(text: str, status: int = 1) -> bool:
    """Tell the launcher why this process ends. Returns whether there is one to tell. A process that ends because
    another did leaves the first word to that one."""
    path = os.environ.get(ERROR_FILE)
    if path is None:
        return False
    if any(one in text for one in LOST):
        time.sleep(GRACE)
    extra = {"py_callstack": "", "timestamp": str(int(time.time())), "status": status}
    Path(path).write_text(json.dumps({"message": {"message": text, "extraInfo": extra}}), encoding="utf-8")
    return True


def join_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that tell a SLURM task of its ranks, as a launcher sets them; none where there is no SLURM, or a
    launcher was used beneath it. Raises: UserError, when the list of machines cannot be read."""
    if "SLURM_PROCID" not in environment or "WORLD_SIZE" in environment or "SLURM_STEP_NODELIST" not in environment:
        return {}
    if environment.get("SLURM_NTASKS", "1") == "1":
        return {}
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_NTASKS"],
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": environment.get("MASTER_PORT")
        or str(FIRST_PORT + int(environment.get("SLURM_JOB_ID", "0")) % PORTS),
    }


def first_host(nodes: str) -> str:
    """Of SLURM's list of machines: `gpu[07-09,12],login` -> `gpu07`. Raises: UserError."""
    match = re.match(r"([^\[\],]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    if match is None:
        raise UserError(f"SLURM_STEP_NODELIST: {nodes!r} is no list of machines; set MASTER_ADDR to one of them")
    return f"{match[1]}{match[2] or ''}{match[3] or ''}"


def _run_id(options: Launch) -> str:
    """Machines of one run have one; on a single machine any will do."""
    return options.rdzv_endpoint or uuid.uuid4().hex


def _told(rank: int, exit_code: int, error_file: str) -> RunError | UserError:
    text, status = _last_words(Path(error_file))
    if not text:
        text = SIGNALS.get(exit_code, f"it ended with status {exit_code} and said nothing")
    kind = UserError if status == UserError.exit_status else RunError
    return kind(text if kind is UserError else f"rank {rank}: {text}")


def _last_words(path: Path) -> tuple[str, int]:
    try:
        message = json.loads(path.read_text(encoding="utf-8"))["message"]
        return message["message"], message["extraInfo"].get("status", 1)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "", 1
