"""What a run tells those who watch it: hooks, trackers, the log."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import vidgen
from vidgen import RunError, hookimpl, runfolder
from vidgen.interfaces import Media, RunInfo


class Watcher:
    """Writes down every hook that observes a run."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    @hookimpl
    def vidgen_run_started(self, run: RunInfo) -> None:
        self.seen.append(("started", run.job, run.first_step, run.last_step))

    @hookimpl
    def vidgen_step_done(self, step: int, metrics: Mapping[str, float]) -> None:
        self.seen.append(("step", step, sorted(metrics)))

    @hookimpl
    def vidgen_checkpoint_saved(self, step: int, path: Path) -> None:
        self.seen.append(("saved", step, runfolder.step_of(path), (path / "state.json").exists()))

    @hookimpl
    def vidgen_samples_written(self, step: int, samples: Sequence[Media]) -> None:
        self.seen.append(("samples", step, [(one.prompt, one.size, one.path.exists()) for one in samples]))

    @hookimpl
    def vidgen_run_finished(self, run: RunInfo) -> None:
        self.seen.append(("finished", run.job))


NUMBERS = ["data_wait", "encode_share", "epoch", "grad_norm", "loss", "lr", "samples_per_s", "tokens_per_s"]


@pytest.fixture
def watched(recipe_of: Callable[..., Any]) -> Callable[..., list[tuple[Any, ...]]]:
    """Run the small recipe, changed, under a watcher; what it saw."""

    def run(**changes: Any) -> list[tuple[Any, ...]]:
        recipe, watcher = recipe_of(**changes), Watcher()
        recipe.registry.hooks.register(watcher)
        try:
            vidgen.run(recipe)
        except RunError as error:
            watcher.seen.append(("error", str(error)))
        return watcher.seen

    return run


def test_observers_are_told_in_order(watched: Callable[..., Any]) -> None:
    seen = watched(max_steps=3, log__every=2, checkpoint__every=2, sample={"prompts": ["a red circle moving up"]})
    assert seen == [
        ("started", "train", 0, 3),
        ("step", 2, NUMBERS),
        ("saved", 2, 2, True),
        ("saved", 3, 3, True),
        ("samples", 3, [("a red circle moving up", (2, 8, 16), True)]),
        ("finished", "train"),
    ]


def test_a_run_that_fails_is_told_to_be_finished_too(
    watched: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise RunError("disk full")

    monkeypatch.setattr("vidgen.engine.saver.write", full)
    assert [one[0] for one in watched(max_steps=1)] == ["started", "step", "finished", "error"]


def test_the_log_tells_the_story(train: Callable[..., Path]) -> None:
    outputs = train(max_steps=2)
    lines = (outputs / "log.txt").read_text()
    for text in ("command: ", "parameters: ", "tokens per sample: 16 (2 x 2 x 4)", "step 2/2", "saved ", "done: "):
        assert text in lines, text


def test_a_failure_is_in_the_log_of_the_run(train: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(vidgen.UserError):
        train(batch_size=9)
    assert "ended by UserError: " in (tmp_path / "run" / "log.txt").read_text()


def test_the_resolved_recipe_repeats_the_run(train: Callable[..., Path], tmp_path: Path) -> None:
    outputs = train(max_steps=2)
    again = vidgen.load_recipe(outputs / "recipe.yaml", [f"outputs={tmp_path / 'again'}"])
    vidgen.run(again)
    mine, theirs = (
        path / "checkpoints/epoch0-global_step2/model/model.safetensors" for path in (outputs, tmp_path / "again")
    )
    assert mine.read_bytes() == theirs.read_bytes()


def test_epochs_end_a_run_too(watched: Callable[..., Any]) -> None:
    """8 rows in batches of 3 are 2 steps an epoch."""
    seen = watched(max_steps=None, epochs=2)
    assert seen[0] == ("started", "train", 0, 4) and ("saved", 4, 4, True) in seen


def test_gradient_checkpointing_changes_no_number(train: Callable[..., Path]) -> None:
    plain, spared = train("plain", max_steps=3), train("spared", max_steps=3, grad_checkpoint=True)
    rows = [(path / "metrics.csv").read_text().splitlines()[-1].split(",")[:5] for path in (plain, spared)]
    assert [float(x) for x in rows[0]] == pytest.approx([float(x) for x in rows[1]], rel=1e-5)
