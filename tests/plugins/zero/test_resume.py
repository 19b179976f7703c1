"""A checkpoint belongs to no number of ranks: any number goes on from it, along the same curve and through the data."""

from pathlib import Path
from shutil import copytree
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


ENGINES = {1: "single", 2: "zero2", 4: "zero3"}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Resumed]:
    """The same, stopped within the first epoch, on 1 and on 2 ranks; and the rows of each step."""
    folder = tmp_path_factory.mktemp("begun")
    return {size: (folder / str(size), on(size, ENGINES[size], folder / str(size), max_steps=3)) for size in (1, 2)}


@pytest.fixture(scope="module", params=["2 to 1", "2 to 4", "1 to 2"])
def resumed(
    request: pytest.FixtureRequest, begun: dict[int, Resumed], tmp_path_factory: pytest.TempPathFactory
) -> Resumed:
    """What was begun, gone on with on another number of ranks."""
    first, second = map(int, request.param.split(" to "))
    outputs = tmp_path_factory.mktemp("parts") / "run"
    before, seen = begun[first]
    copytree(before, outputs)
    return outputs, seen | on(second, ENGINES[second], outputs, max_steps=8, resume="latest")


def test_other_numbers_of_ranks_go_on_along_the_same_curve(whole: Path, resumed: Resumed) -> None:
    assert_same_course(whole, resumed[0])


def test_no_row_is_seen_twice_or_missed(resumed: Resumed) -> None:
    seen = resumed[1]
    assert sorted(seen) == list(range(8))
    first = [row for step in range(ROWS // STEP) for row in seen[step]]
    assert sorted(first) == list(range(ROWS))
    assert all(len(rows) == STEP for rows in seen.values())


def test_another_number_of_ranks_is_told(resumed: Resumed) -> None:
    """The recipe may be the same and steps still see other numbers of rows."""
    assert "epoch0-global_step3 was written by a run that read" in (resumed[0] / "log.txt").read_text()


def spoilt(world: World, cases: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Runs in which rank 1 loses its loss in step 4, of which nothing is read back before it is saved."""
    honest = Training.losses

    def losses(self: Training, batch: Batch) -> dict[str, torch.Tensor]:
        factor = float("nan") if self.step == 3 and world.rank == 1 else 1.0
        return {name: value * factor for name, value in honest(self, batch).items()}

    Training.losses = losses  # type: ignore[method-assign]
    told = {}
    for name, changes in cases.items():
        with pytest.raises(vidgen.RunError) as caught:
            run_here(world, changes)
        told[name] = str(caught.value)
    return told


def test_a_loss_that_is_lost_on_one_rank_stops_all_and_saves_nothing(tmp_path: Path) -> None:
    changes = {"checkpoint.every": 3, "log.every": 50}
    cases = {
        engine: {**changes, "parallel": {"type": engine}, "outputs": str(tmp_path / engine)}
        for engine in ("ddp", "zero2")
    }
    first, second = on_ranks(spoilt, 2, cases)
    assert first == second
    for engine, told in first.items():
        saved = tmp_path / engine / "checkpoints" / "epoch0-global_step3"
        assert told.startswith("step 4: the loss is not finite on rank 1 (loss nan, ")
        assert f"last good checkpoint: {saved}" in told and "on rows no longer known" not in told
        assert runfolder.checkpoints(tmp_path / engine) == [saved]


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
