"""Runs of several processes through the command line, and what happens when they are killed, stopped or misused."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from launched import SOON, ranks_of, wait_until
from parallel_run import WIDE, numbers_in
from tiny_run import RECIPE, merged, wait_for
from vidgen import runfolder


def start(folder: Path, changes: dict[str, Any], *command: str, **environment: str) -> subprocess.Popen[str]:
    """The small recipe, changed; {} in `command` is its file. As 2 processes of `vidgen-run` unless said otherwise."""
    recipe = folder / "recipe.yaml"
    defaults = {**WIDE, "outputs": str(folder / "run"), "parallel": {"type": "zero2"}}
    recipe.write_text(yaml.safe_dump(merged(RECIPE, {**defaults, **changes})))
    words = command or ("-m", "vidgen.run", "{}", "--nproc", "2")
    return subprocess.Popen(
        [sys.executable, *(word.format(recipe) for word in words)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def stands(process: int) -> bool:
    """Whether all threads of a process are stopped."""
    return {path.read_text().rpartition(") ")[2][0] for path in Path(f"/proc/{process}/task").glob("*/stat")} == {"T"}


def pending(process: int, number: signal.Signals) -> bool:
    """Whether a signal has reached a process, which is stopped and cannot act on it."""
    (mask,) = re.findall(r"^ShdPnd:\s*(\w+)$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


def alive(process: int) -> bool:
    """Whether it still runs; a zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_a_rank_that_is_killed_ends_the_others_and_is_named(tmp_path: Path) -> None:
    """Twice: after the first time the launcher starts all again, as it was told to, and they go on."""
    run = ("-m", "vidgen.run", "{}", "--nproc", "2", "--max-restarts", "1")
    changes = {"max_steps": 100_000, "checkpoint.every": 5, "checkpoint.keep": None, "resume": "latest"}
    launcher = start(tmp_path, changes, *run)
    wait_for(tmp_path / "run" / "checkpoints" / "epoch0-global_step5", launcher)
    first = ranks_of(launcher)
    assert sorted(first) == [0, 1]
    os.kill(first[1], signal.SIGKILL)
    wait_until(lambda: "goes on from" in (tmp_path / "run" / "log.txt").read_text(), launcher)
    assert not any(map(alive, first.values()))
    again = ranks_of(launcher)
    os.kill(again[1], signal.SIGKILL)
    _, told = launcher.communicate(timeout=SOON)
    assert launcher.returncode == 1
    assert told.splitlines()[-1] == "rank 1: it was killed (SIGKILL), perhaps for want of memory"
    assert "Traceback" not in told and not any(map(alive, again.values()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_launcher_saves_on_all_ranks_and_the_run_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    """SIGTERM, as clusters send it half a minute before SIGKILL, or Ctrl-C: all end well, as one process does, and
    none is started again. Then `torchrun`, which does the same."""
    run = ("-m", "vidgen.run", "{}", "--nproc", "2", "--max-restarts", "1", "resume=latest")
    launcher = start(tmp_path, {"max_steps": 100_000, "checkpoint.background": True}, *run)
    wait_for(tmp_path / "run" / "metrics.csv", launcher)
    launcher.send_signal(number)
    _, told = launcher.communicate(timeout=SOON)
    assert launcher.returncode == 0, told
    assert "Traceback" not in told and "resume=latest goes on" in told, told
    saved = runfolder.latest(tmp_path / "run")
    assert saved is not None
    step = runfolder.step_of(saved)
    assert f"stopped by {signal.Signals(number).name} at step {step}" in (tmp_path / "run" / "log.txt").read_text()
    steps = int(numbers_in(tmp_path / "run", "step")[-1])
    assert steps == step
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python", sys.executable)
    module = ("-m", "vidgen.run", "{}", "resume=latest")
    again = start(tmp_path, {"max_steps": step + 2, "checkpoint.background": True}, *torchrun, *module)
    _, told = again.communicate(timeout=SOON)
    assert again.returncode == 0, told
    assert numbers_in(tmp_path / "run", "step").flatten().tolist() == list(range(1, step + 3))


def test_a_rank_that_dies_after_the_signal_makes_the_run_a_failed_one_that_is_not_started_again(tmp_path: Path) -> None:
    """Stopped ranks keep a signal waiting: the one that is killed cannot end well."""
    run = ("-m", "vidgen.run", "{}", "--nproc", "2", "--max-restarts", "1", "resume=latest")
    launcher = start(tmp_path, {"max_steps": 100_000, "checkpoint.every": 1}, *run)
    wait_for(tmp_path / "run" / "checkpoints" / "epoch0-global_step1", launcher)
    ranks = ranks_of(launcher)
    for rank in ranks.values():
        os.kill(rank, signal.SIGSTOP)
    wait_until(lambda: all(map(stands, ranks.values())), launcher)
    launcher.send_signal(signal.SIGTERM)
    os.kill(ranks[1], signal.SIGKILL)
    os.kill(ranks[0], signal.SIGCONT)
    _, told = launcher.communicate(timeout=SOON)
    assert launcher.returncode == 1, told
    assert told.splitlines()[-1] == "rank 1: it was killed (SIGKILL), perhaps for want of memory"
    assert not any(map(alive, ranks.values()))


def test_a_second_signal_ends_ranks_at_once(tmp_path: Path) -> None:
    """Here one hangs, and the other waits for it."""
    launcher = start(tmp_path, {"max_steps": 100_000})
    wait_for(tmp_path / "run" / "metrics.csv", launcher)
    ranks = ranks_of(launcher)
    os.kill(ranks[1], signal.SIGSTOP)
    wait_until(lambda: stands(ranks[1]), launcher)
    launcher.send_signal(signal.SIGTERM)
    wait_until(lambda: pending(ranks[1], signal.SIGTERM), launcher)
    launcher.send_signal(signal.SIGTERM)
    os.kill(ranks[1], signal.SIGKILL)
    _, told = launcher.communicate(timeout=SOON)
    assert launcher.returncode == 1, told
    assert told.splitlines()[-1] == "stopped by SIGTERM, before all ranks had saved; resume=latest goes on"
    assert "Traceback" not in told and not any(map(alive, ranks.values()))


def test_tasks_of_slurm_find_each_other(tmp_path: Path) -> None:
    """Two tasks of one job, as `srun vidgen-run RECIPE` starts them; the first host is this one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    slurm = {"SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": "7", "MASTER_PORT": port}
    tasks = [
        start(
            tmp_path, {"max_steps": 2, "parallel": {"type": "ddp"}}, "-m", "vidgen.run", "{}", **slurm, SLURM_PROCID=one
        )
        for one in "01"
    ]
    for task in tasks:
        _, told = task.communicate(timeout=SOON)
        assert task.returncode == 0, told
    assert (tmp_path / "run" / "log-rank1.txt").exists()
    assert len(numbers_in(tmp_path / "run", "step")) == 2


def test_a_second_run_in_one_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        launcher = start(tmp_path, {})
        _, told = launcher.communicate(timeout=SOON)
    assert launcher.returncode == 2
    assert told.startswith("outputs: another run is writing to") and "Traceback" not in told and "rank" not in told


def test_all_ranks_killed_while_they_save_leave_a_run_that_one_process_takes_up(tmp_path: Path) -> None:
    """A run that saves after every step, in the background; see test_saver for many more moments."""
    changes = {"checkpoint.every": 1, "checkpoint.background": True, "checkpoint.keep": 2, "max_steps": 100_000}
    launcher = start(tmp_path, changes)
    wait_for(tmp_path / "run" / "checkpoints" / "epoch0-global_step3", launcher)
    done = runfolder.latest(tmp_path / "run")
    ranks = ranks_of(launcher)
    for process in (launcher.pid, *ranks.values()):
        os.kill(process, signal.SIGKILL)
    launcher.wait()
    left = runfolder.latest(tmp_path / "run")
    assert done is not None and left is not None and runfolder.step_of(left) >= runfolder.step_of(done)
    step = runfolder.step_of(left)
    resumed = ("-m", "vidgen.run", "{}", "resume=latest", "parallel.type=single", f"max_steps={step + 1}")
    again = start(tmp_path, changes, *resumed)
    _, told = again.communicate(timeout=SOON)
    assert again.returncode == 0, told
    assert numbers_in(tmp_path / "run", "step").flatten().tolist() == list(range(1, step + 2))
