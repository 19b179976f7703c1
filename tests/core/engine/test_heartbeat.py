"""A step that hangs: the rank that holds it up is named, with the step and the place, whatever it hangs in."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from parallel_run import run_here
from ranks import on_ranks
from vidgen.engine.heartbeat import Beat, held_up
from vidgen.engine.train import Training
from vidgen.launch import ERROR_FILE
from vidgen.mesh import World

LIMIT = 2.0


def words(folder: Path, size: int) -> list[str]:
    """What ranks left for the launcher."""
    return [
        json.loads(path.read_text())["message"]["message"]
        for path in (folder / f"words-{rank}.json" for rank in range(size))
        if path.exists()
    ]


def hang(world: World, folder: Path, where: str) -> None:
    """A run whose rank 1 sleeps in step 3: in its data, in a step, or stopped as a whole; nobody wakes it."""
    changes = {"parallel": {"type": "zero2"}, "dataset.rows": 4000}
    run_here(world, {**changes, "max_steps": 1, "outputs": str(folder / "warm")})  # a first step takes seconds
    os.environ[ERROR_FILE] = str(folder / f"words-{world.rank}.json")
    honest = Training.losses

    def losses(self: Training, batch: object) -> object:
        if self.step == 2 and world.rank == 1:
            if where == "stopped":
                os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(60)
        return honest(self, batch)  # type: ignore[arg-type]

    if where == "reading":
        from vidgen_moving_shapes.dataset import MovingShapes

        drawn = MovingShapes.get

        def get(self: MovingShapes, row: int, *rest: object) -> object:
            if world.rank == 1 and time.monotonic() > begun[0] + 0.3:
                time.sleep(60)
            return drawn(self, row, *rest)  # type: ignore[arg-type]

        begun = [time.monotonic()]
        MovingShapes.get = get  # type: ignore[method-assign]
    else:
        Training.losses = losses  # type: ignore[method-assign, assignment]
    run_here(world, {**changes, "step_timeout": LIMIT, "max_steps": 10_000, "outputs": str(folder / "run")})


@pytest.mark.parametrize("where", ["reading", "training", "stopped"])
def test_the_rank_that_hangs_is_named(tmp_path: Path, where: str) -> None:
    with pytest.raises(AssertionError, match=r"died|Connection"):
        on_ranks(hang, 2, tmp_path, where)
    told = words(tmp_path, 2)
    assert told, "no rank ended the run"
    for text in told:
        assert "has not ended for more than 2 s (step_timeout): rank 1" in text
        assert ("when last heard of" if where == "stopped" else f"has been {where} for") in text
        if where != "reading":
            assert text.startswith("step 2 ")  # the third, counted from 0
            assert "rank 0 is waiting for others in step 2" in text or "rank 0 is waiting for others in step 3" in text


def test_of_ranks_that_do_alike_the_one_that_waits_for_nobody_is_named() -> None:
    """The rank that arrived first has been there for longest: it is not to blame."""
    beats = [Beat(7, "training", 9.0, "wait", waits=True), Beat(7, "training", 8.0, "forward, model.py:3")]
    assert "rank 1 has been training for 8 s, at forward, model.py:3 (rank 0 is waiting" in held_up(beats, 6.0)


def test_a_rank_that_reads_is_named_before_those_a_step_behind() -> None:
    beats = [
        Beat(7, "training", 9.0, "wait", waits=True),
        Beat(7, "saving or sampling", 99.0, "write"),
        Beat(8, "reading", 8.5, "read"),
        Beat(8, "reading", 0.1, "read"),
    ]
    told = held_up(beats, 6.0)
    assert "step 8 " in told and "rank 2 has been reading" in told and "rank 1 is saving or sampling in step 7" in told


def test_a_rank_that_went_silent_is_named_first() -> None:
    beats = [Beat(7, "training", 9.0, "forward"), Beat(7, "training", 0.5, "forward", silent=True)]
    assert "step 7 has not ended" in held_up(beats, 6.0)
    assert "rank 1 was training when last heard of" in held_up(beats, 6.0)
