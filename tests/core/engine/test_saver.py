"""Checkpoints by several ranks: whole or not at all, wherever they are killed and whatever the disk does."""

import os
import random
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from parallel_run import run_here
from ranks import on_ranks, started
from safetensors.torch import load_file
from torch import nn
from torch.distributed.fsdp import fully_shard
from vidgen import RunError, runfolder, weights
from vidgen.engine.adapting import CONFIG, FILE
from vidgen.engine.checkpoint import Saved
from vidgen.engine.ema import Ema
from vidgen.engine.saver import Saver
from vidgen.mesh import World

KILLS = int(os.environ.get("VIDGEN_KILLS", "12"))
"""So few take seconds; 50 have been tried."""


class Biases:
    """An adapter whose entries are the model's biases."""

    merges = pretrained = False

    def own_names(self, model: nn.Module) -> dict[str, str]:
        return {name: f"kept.{name}" for name in model.state_dict() if name.endswith("bias")}

    def config(self) -> dict[str, Any]:
        return {"kind": "biases"}

    def apply(self, model: nn.Module) -> None:
        """They are there."""

    def merge(self, model: nn.Module) -> None:
        """They stay there."""


def _saved(value: float) -> Saved:
    """A small model that is shared out, its average, an optimizer that has stepped, an adapter; all filled with
    `value`."""
    model = nn.Sequential(nn.Linear(37, 41), nn.Linear(41, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0)
    ema = Ema(model, 0.5)
    model(torch.ones(2, 37)).sum().backward()
    optimizer.step()
    return Saved(model, optimizer, ema, [Biases()])


def save_for_ever(world: World, outputs: Path, background: bool) -> None:
    """Checkpoints of steps 1, 2, 3, ..., in each of which every weight is the step; `done` holds the last one."""
    saved = _saved(0.0)

    def note(path: Path, step: int) -> None:
        if world.is_main:
            (outputs / "done.new").write_text(str(step))
            (outputs / "done.new").replace(outputs / "done")

    saver = Saver(outputs, world, keep=1, background=background, done=note)
    newest = runfolder.latest(outputs)
    step = 0 if newest is None else runfolder.step_of(newest)
    while True:
        step += 1
        with torch.no_grad():
            for parameter in saved.model.parameters():
                parameter.fill_(float(step))
        saver.save(saved, {"epoch": 0, "step": step})
        saver.poll()


def test_ranks_killed_at_any_moment_of_saving_leave_the_last_checkpoint_whole(tmp_path: Path) -> None:
    """Many times, at random moments, in one folder in which each round goes on: the newest checkpoint always loads, is
    what was saved at its step, and is not older than the last one that was complete."""
    moments = random.Random(5)
    steps = []
    for round_ in range(KILLS):
        with started(save_for_ever, 2, tmp_path, round_ % 2 == 1) as processes:
            done = tmp_path / "done"
            begun = done.read_text() if done.exists() else ""
            deadline = time.monotonic() + 60
            while not done.exists() or done.read_text() == begun:
                assert time.monotonic() < deadline, "nothing is saved"
                time.sleep(0.002)
            time.sleep(moments.random() * 0.1)
            for process in processes:
                os.kill(process.pid, signal.SIGKILL)
        newest = runfolder.latest(tmp_path)
        assert newest is not None
        step = runfolder.step_of(newest)
        assert step >= int(done.read_text())
        assert runfolder.read_state(newest)["step"] == step
        whole = weights.read_state(newest / "model")
        assert {name: tuple(value.shape) for name, value in whole.items()} == {
            "0.weight": (41, 37),
            "0.bias": (41,),
            "1.weight": (3, 41),
            "1.bias": (3,),
        }
        assert all(bool((value == step).all()) for value in whole.values())
        assert weights.read_state(newest / "ema").keys() == whole.keys()
        assert len(weights.read_state(newest / "optimizer")) == 2 * len(whole)
        assert sorted(path.name for path in (newest / "adapter").iterdir()) == [CONFIG, FILE]
        alone = load_file(newest / "adapter" / FILE)
        assert {name: tuple(value.shape) for name, value in alone.items()} == {
            "kept.0.bias": (41,),
            "kept.1.bias": (3,),
        }
        steps.append(step)
    assert steps == sorted(set(steps))


def save_twice(world: World, outputs: Path, background: bool, full_for: int) -> str:
    """Two saves; at the second, no file of one rank may grow beyond so many bytes: rank 1 fails at what is shared out,
    and the main one, later, at what it writes alone. Returns what is said of it."""
    saved, told = _saved(1.0), []
    saver = Saver(outputs, world, keep=1, background=background, done=lambda path, step: told.append(path.name))
    saver.save(saved, {"epoch": 0, "step": 1})
    saver.finish()
    if world.rank == full_for:
        limit = (20_000, 600)[full_for]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        saver.save(saved, {"epoch": 0, "step": 2, "note": "long" * 5_000})
        saver.finish()
    except RunError as error:
        assert told == ["epoch0-global_step1"]
        return str(error)
    return "saved"


@pytest.mark.parametrize("full_for", [0, 1])
@pytest.mark.parametrize("background", [False, True])
def test_a_disk_that_is_full_for_one_rank_stops_all_and_leaves_the_checkpoint_before(
    tmp_path: Path, background: bool, full_for: int
) -> None:
    first, second = on_ranks(save_twice, 2, tmp_path, background, full_for)
    for told in (first, second):
        assert f"epoch0-global_step2 could not be written (rank {full_for}: File too large)" in told
        assert told.endswith(f"{tmp_path}/checkpoints/epoch0-global_step1 is intact.")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["epoch0-global_step1"]
    assert float(weights.read_state(tmp_path / "checkpoints" / "epoch0-global_step1" / "model")["0.bias"].sum()) == 41.0


def save_both_ways(world: World, folder: Path, changes: dict[str, Any]) -> None:
    """The same run, saving at once and in the background while it goes on."""
    for background in (False, True):
        outputs = str(folder / ("background" if background else "at once"))
        run_here(world, {**changes, "checkpoint": {"every": 1, "background": background}, "outputs": outputs})


def test_what_is_saved_in_the_background_is_what_is_saved_at_once(tmp_path: Path) -> None:
    """The run goes on meanwhile, and changes the tensors that are being written."""
    on_ranks(save_both_ways, 2, tmp_path, {"parallel": {"type": "zero2"}, "checkpoint.keep": None})
    found = [sorted((tmp_path / name / "checkpoints").rglob("*.safetensors")) for name in ("at once", "background")]
    assert len(found[0]) > 6
    for one, other in zip(*found, strict=True):
        assert one.relative_to(tmp_path / "at once") == other.relative_to(tmp_path / "background")
        mine, theirs = load_file(one), load_file(other)
        assert mine.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in mine.items())
