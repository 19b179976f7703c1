"""How processes find each other, and what is told of those that end."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from parallel_run import run_here
from ranks import on_ranks
from vidgen import RunError, UserError
from vidgen.launch import ERROR_FILE, Launch, first_host, join_slurm, launch, leave_word
from vidgen.mesh import World, connect

TASK = {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "41234567"}


def test_a_task_of_slurm_is_a_rank() -> None:
    assert join_slurm({**TASK, "SLURM_STEP_NODELIST": "gpu[07-09,12]"}) == {
        "RANK": "3",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu07",
        "MASTER_PORT": "34567",
    }


def test_what_is_set_by_hand_counts_before_what_slurm_says() -> None:
    chosen = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "5"}
    assert join_slurm({**TASK, **chosen, "SLURM_STEP_NODELIST": "a"}).items() >= chosen.items()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {**TASK, "SLURM_STEP_NODELIST": "a", "WORLD_SIZE": "8"},  # a launcher beneath SLURM
        {**TASK, "SLURM_STEP_NODELIST": "a", "SLURM_NTASKS": "1"},
        TASK,  # inside salloc, without srun
    ],
)
def test_other_processes_are_no_tasks(environment: dict[str, str]) -> None:
    assert join_slurm(environment) == {}


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node3", "node3"),
        ("gpu[07-09,12],login", "gpu07"),
        ("gpu[1,3-4]", "gpu1"),
        ("a-1,b-[2-3]", "a-1"),
        ("rack2-n[001-128]-ib", "rack2-n001-ib"),
    ],
)
def test_the_first_host_of_a_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


def test_a_list_of_hosts_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"'\[1-2\]' is no list of machines; set MASTER_ADDR"):
        first_host("[1-2]")


def test_several_machines_need_a_meeting_point() -> None:
    with pytest.raises(UserError, match="--rdzv-endpoint HOST:PORT"):
        launch(["recipe.yaml"], Launch(nproc=2, nnodes=2))


def test_last_words_reach_the_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ERROR_FILE, raising=False)
    assert not leave_word("alone")
    monkeypatch.setenv(ERROR_FILE, str(tmp_path / "error.json"))
    assert leave_word("too few rows", 2)
    message = json.loads((tmp_path / "error.json").read_text())["message"]
    assert message["message"] == "too few rows" and message["extraInfo"]["status"] == 2


def wait_in_vain(world: World) -> str:
    """The first of two ranks, of which the other is never started."""
    environment = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    try:
        connect(torch.device("cpu"), environment, patience=timedelta(seconds=0.5))
    except RunError as error:
        return str(error)
    return ""


def test_a_rank_that_does_not_appear_is_named() -> None:
    assert on_ranks(wait_in_vain, 1)[0].startswith("rank 0: of 2 ranks 1 did not appear within 0.5 s.")


def refusals(world: World, folder: Path, cases: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What this rank is told of each case; a value that is a list has one entry a rank."""
    told = {}
    for name, changes in cases.items():
        mine = {key: value[world.rank] if isinstance(value, list) else value for key, value in changes.items()}
        try:
            run_here(world, {"parallel": {"type": "zero2"}, "outputs": str(folder / name), **mine})
        except (UserError, RunError) as error:
            told[name] = f"{type(error).__name__}: {error}"
    return told


def test_ranks_that_cannot_work_together_are_told_so_before_anything_is_written(tmp_path: Path) -> None:
    """All ranks raise alike: none is left waiting."""
    cases = {
        "single": {"parallel": {"type": "single"}},
        "recipes": {"seed": [7, 8]},
        "sharing": {"parallel": {"type": "zero2", "sp_size": 3}},
        "nothing to share": {"parallel": {"type": "zero2-seq", "sp_size": 1}},
    }
    first, second = on_ranks(refusals, 2, tmp_path, cases)
    assert first == second
    assert first["single"].startswith("UserError: parallel.type: single is one process, but 2 were started.")
    assert first["recipes"].startswith("RunError: rank 1 has another recipe than rank 0: ")
    assert "sp_size: 3 ranks are to share each sample, but there are 2 in all" in first["sharing"]
    assert "zero2-seq shares each sample between 2 or more ranks" in first["nothing to share"]
    assert not list(tmp_path.iterdir())


def check_code(world: World) -> str:
    """Ranks with different versions of a library."""
    try:
        world.check_same("code", f'{{"torch": "2.{13 + world.rank}"}}')
    except RunError as error:
        return str(error)
    return ""


def test_ranks_with_other_code_are_refused() -> None:
    for told in on_ranks(check_code, 2):
        assert told.startswith('rank 1 has another code than rank 0: {"torch": "2.14"} instead of {"torch": "2.13"}.')


LAUNCHER = """
import os, subprocess, sys, time
os.environ["TORCHELASTIC_ERROR_FILE"] = "words"
subprocess.Popen([sys.executable, "-c", os.environ["RANK_PROGRAM"]])
time.sleep(60)
"""
RANK_PROGRAM = """
import time
from vidgen.launch import end_with_launcher
end_with_launcher(0.1)
print("runs", flush=True)
time.sleep(60)
print("still runs", flush=True)
"""


def test_a_rank_whose_launcher_is_killed_ends_as_by_sigterm() -> None:
    """It would train on, and hold the run's folder."""
    environment = {**os.environ, "RANK_PROGRAM": RANK_PROGRAM}
    command = [sys.executable, "-c", LAUNCHER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as launcher:
        assert launcher.stdout is not None and launcher.stdout.readline() == "runs\n"
        launcher.kill()
        assert launcher.stdout.read() == ""  # which comes to its end with the rank


STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)))
os.write(1, b"runs\\n")
while True:
    time.sleep(0.1)
"""
IMPATIENT = """
import os
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.launcher.api import LaunchConfig
from vidgen.agent import Agent
config = LaunchConfig(
    min_nodes=1, max_nodes=1, nproc_per_node=2, run_id="one", rdzv_backend="c10d", rdzv_endpoint="localhost:0"
)
try:
    Agent(config, ["-c", os.environ["RANK_PROGRAM"]], 0.5).run()
except SignalException as error:
    print(error, flush=True)
"""


def test_ranks_that_do_not_end_after_a_signal_are_told_again() -> None:
    """And would be killed, had they no ear for that either."""
    environment = {**os.environ, "RANK_PROGRAM": STUBBORN}
    command = [sys.executable, "-c", IMPATIENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as launcher:
        assert launcher.stdout is not None
        assert [launcher.stdout.readline() for _ in range(2)] == ["runs\n", "runs\n"]
        launcher.terminate()
        assert launcher.stdout.read() == "ranks still run after 0.5 s\n"
