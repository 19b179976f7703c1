"""A checkpoint belongs to no number of ranks: any number goes on from it, along the same curve and through the data."""

from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from parallel_run import assert_same_course, everything_in, run_here
from ranks import on_ranks
from vidgen import runfolder
from vidgen.engine.batch import Batch
from vidgen.engine.train import Training
from vidgen.mesh import World

ROWS = 48
STEP = 8  # rows, over all ranks and accumulated batches
RECIPE: dict[str, Any] = {"batch_size": 2, "dataset.rows": ROWS, "force": True, "log.every": 4}
"""What is logged is a mean over steps on both sides of the stop."""

Seen = dict[int, list[int]]
"""Step -> rows that a rank saw in it."""


def train(world: World, changes: dict[str, Any]) -> Seen:
    """A run on all ranks, `STEP` rows a step."""
    seen: Seen = {}
    honest = Training.train_step

    def watched(self: Training, step_batches: list[Batch]) -> None:
        seen[self.step] = [row for batch in step_batches for row in batch.rows]
        honest(self, step_batches)

    Training.train_step = watched  # type: ignore[method-assign]
    try:
        run_here(world, {**RECIPE, "accumulation_steps": STEP // 2 // world.size, **changes})
    finally:
        Training.train_step = honest  # type: ignore[method-assign]
    return seen


def on(size: int, engine: str, outputs: Path, **changes: Any) -> Seen:
    """`train` on so many ranks; the rows of all."""
    given = {**changes, "parallel": {"type": engine}, "outputs": str(outputs)}
    answers = [train(World(), given)] if size == 1 else on_ranks(train, size, given)
    return {step: [row for answer in answers for row in answer[step]] for step in answers[0]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run on one process, into its second epoch."""
    outputs = tmp_path_factory.mktemp("whole") / "run"
    on(1, "single", outputs, max_steps=8)
    return outputs


Resumed = tuple[Path, Seen]


@pytest.fixture(scope="module", params=["2 to 1", "2 to 4", "1 to 2"])
def resumed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    """The same in two parts, stopped within the first epoch, on other numbers of ranks; and the rows of each step."""
    first, second = map(int, request.param.split(" to "))
    engines = {1: "single", 2: "zero2", 4: "zero3"}
    outputs = tmp_path_factory.mktemp("parts") / "run"
    seen = on(first, engines[first], outputs, max_steps=3)
    return outputs, seen | on(second, engines[second], outputs, max_steps=8, resume="latest")


def test_other_numbers_of_ranks_go_on_along_the_same_curve(whole: Path, resumed: Resumed) -> None:
    assert_same_course(whole, resumed[0])


def test_no_row_is_seen_twice_or_missed(resumed: Resumed) -> None:
    seen = resumed[1]
    assert sorted(seen) == list(range(8))
    first = [row for step in range(ROWS // STEP) for row in seen[step]]
    assert sorted(first) == list(range(ROWS))
    assert all(len(rows) == STEP for rows in seen.values())


def spoilt(world: World, changes: dict[str, Any]) -> str:
    """A run in which rank 1 loses its loss in step 4, of which nothing is read back before it is saved."""
    honest = Training.losses

    def losses(self: Training, batch: Batch) -> dict[str, torch.Tensor]:
        factor = float("nan") if self.step == 3 and world.rank == 1 else 1.0
        return {name: value * factor for name, value in honest(self, batch).items()}

    Training.losses = losses  # type: ignore[method-assign]
    try:
        run_here(world, changes)
    except vidgen.RunError as error:
        return str(error)
    return "nothing"


@pytest.mark.parametrize("engine", ["ddp", "zero2"])
def test_a_loss_that_is_lost_on_one_rank_stops_all_and_saves_nothing(tmp_path: Path, engine: str) -> None:
    outputs = tmp_path / "run"
    changes = {"parallel": {"type": engine}, "outputs": str(outputs), "checkpoint.every": 3, "log.every": 50}
    first, second = on_ranks(spoilt, 2, changes)
    for told in (first, second):
        assert told.startswith("step 4: the loss is not finite on rank 1 (loss nan, ")
        assert f"last good checkpoint: {outputs}/checkpoints/epoch0-global_step3" in told
    assert first == second and "on rows no longer known" not in second
    assert [path.name for path in runfolder.checkpoints(outputs)] == ["epoch0-global_step3"]


def sampled(world: World, changes: dict[str, Any]) -> None:
    """A run on all ranks that writes a clip at its end."""
    run_here(world, changes)


def test_a_checkpoint_of_several_ranks_is_sampled_from_and_started_from(tmp_path: Path) -> None:
    """By one process, the average like the weights."""
    outputs = tmp_path / "run"
    on_ranks(sampled, 2, {"parallel": {"type": "zero2"}, "outputs": str(outputs), "max_steps": 2})
    for ema in (True, False):
        folder = tmp_path / ("averaged" if ema else "raw")
        clip = {"prompts": ["a red circle moving up"], "num_frames": 2, "outputs": str(folder)}
        sample = {"job": "sample", "checkpoint": str(outputs), "ema": ema, "parallel": {"type": "single"}, **clip}
        vidgen.run(vidgen.load_recipe(sample))
        assert len(list(folder.rglob("*.mp4"))) == 1
    saved = everything_in(outputs)
    hardly = {"parallel": {"type": "single"}, "max_steps": 1, "optimizer.lr": 1e-12, "outputs": str(tmp_path / "more")}
    started = everything_in(run_here(World(), {**hardly, "model.from_pretrained": str(outputs)}))
    for name in (name for name in started if name.startswith("model/")):
        torch.testing.assert_close(started[name], saved[name.replace("model/", "ema/")], rtol=0, atol=1e-9)


def test_another_number_of_ranks_is_told(tmp_path: Path) -> None:
    """The recipe may be the same and steps still see other numbers of rows."""
    outputs = tmp_path / "run"
    on(1, "single", outputs, max_steps=1)
    on(2, "ddp", outputs, max_steps=2, resume="latest")
    assert (
        "epoch0-global_step1 was written by ranks with 1 batches a step, and this run has 2"
        in (outputs / "log.txt").read_text()
    )
