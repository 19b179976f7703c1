"""A resumed run is the run that was never interrupted: bit for bit, whatever ended it, wherever in an epoch."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_run import assert_same_state, loss_log, start, tensors_of, wait_for
from vidgen import UserError, runfolder

Train = Callable[..., Path]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("stop", [3, 5], ids=["middle of the second epoch", "middle of the third epoch"])
def test_a_run_in_two_parts_equals_one_run(train: Train, num_workers: int, stop: int) -> None:
    """8 rows in batches of 3 are 2 steps an epoch: steps 3 and 5 lie inside epochs 1 and 2 (D1, D2)."""
    whole = train("whole", num_workers=num_workers)
    train("parts", num_workers=num_workers, max_steps=stop)
    parts = train("parts", num_workers=num_workers, resume="latest")
    assert_same_state(whole, parts, step=6)
    assert loss_log(whole) == loss_log(parts)


@pytest.mark.parametrize("changes", [{"accumulation_steps": 2}, {"dtype": "bf16"}, {"ema": None}, {"log__every": 4}])
def test_resuming_is_exact_with_every_kind_of_state(train: Train, changes: dict[str, object]) -> None:
    """Accumulated batches, low precision, no average, and a logging window that spans the stop."""
    whole = train("whole", **changes)
    train("parts", max_steps=3, **changes)
    parts = train("parts", resume="latest", **changes)
    assert_same_state(whole, parts, step=6)
    assert loss_log(whole) == loss_log(parts)


@pytest.mark.parametrize("stop", [2, 3, 4], ids=["before", "at", "after"])
def test_an_average_that_starts_late_starts_there_in_a_resumed_run_too(train: Train, stop: int) -> None:
    """Step 3: stopped before its start, at it and after it."""
    whole = train("whole", ema__start_step=3)
    kept = tensors_of(train("parts", ema__start_step=3, max_steps=stop), stop)
    averaged = [name for name in kept if name.startswith("ema/")]
    same = [torch.equal(kept[name], kept[name.replace("ema/", "model/")]) for name in averaged]
    assert all(same) == (stop <= 3)
    assert_same_state(whole, train("parts", ema__start_step=3, resume="latest"), step=6)


def test_dropout_inside_layers_resumes_too(train: Train) -> None:
    """Layers that draw from torch's global generator see the same numbers (D5)."""
    whole = train("whole", model__drop_path=0.5, model__depth=3)
    train("parts", model__drop_path=0.5, model__depth=3, max_steps=3)
    parts = train("parts", model__drop_path=0.5, model__depth=3, resume="latest")
    assert_same_state(whole, parts, step=6)


def test_sampling_in_between_changes_nothing(train: Train) -> None:
    """Neither the weights (averages are swapped in and out) nor any random number."""
    sample = {"every": 2, "prompts": ["a red circle moving up"], "metrics": [{"type": "moving-shapes"}]}
    changes = {"model__drop_path": 0.5, "model__depth": 3}
    assert_same_state(train("plain", **changes), train("watched", sample=sample, **changes), step=6)


def test_the_number_of_workers_changes_nothing(train: Train) -> None:
    """Workers have no random state of their own (D6)."""
    assert_same_state(train("none", num_workers=0), train("two", num_workers=2), step=6)


def test_a_killed_process_loses_only_what_followed_its_last_checkpoint(train: Train, tmp_path: Path) -> None:
    """kill -9 in the middle: nothing half-written, and the rest of the run is the same as if nothing had happened."""
    whole = train("whole", max_steps=9)
    changes = {
        "outputs": str(tmp_path / "killed"),
        "checkpoint.every": 3,
        "checkpoint.keep": None,
        "max_steps": 100_000,
    }
    process = start(tmp_path, changes)
    wait_for(tmp_path / "killed" / "checkpoints" / "epoch1-global_step3", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = tmp_path / "killed"
    for checkpoint in runfolder.checkpoints(killed)[1:]:
        checkpoint.rename(tmp_path / checkpoint.name)  # it may have gone further before the signal arrived
    train("killed", max_steps=9, resume="latest", checkpoint__every=3)
    assert_same_state(whole, killed, step=9)
    assert loss_log(whole) == loss_log(killed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, {"outputs": str(tmp_path / "run"), "max_steps": 100_000, "num_workers": 2})
    wait_for(tmp_path / "run" / "metrics.csv", process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    saved = runfolder.latest(tmp_path / "run")
    assert saved is not None
    last_row = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[-1]
    assert runfolder.step_of(saved) == int(last_row.split(",")[0])


def test_global_steps_are_counted_not_computed(train: Train) -> None:
    """Steps go on by one whatever an epoch's length (D3), also across a resume with another batch size."""
    train("run", max_steps=3)
    outputs = train("run", max_steps=5, batch_size=2, resume="latest", force=True)
    assert [int(row[0]) for row in loss_log(outputs)[1:]] == [1, 2, 3, 4, 5]


def test_a_finished_run_is_left_as_it_is(train: Train) -> None:
    outputs = train("run")
    before = {path: path.stat().st_mtime_ns for path in outputs.rglob("*.safetensors")}
    train("run", resume="latest")
    assert {path: path.stat().st_mtime_ns for path in outputs.rglob("*.safetensors")} == before


def test_a_folder_with_a_run_in_it_is_not_started_over(train: Train) -> None:
    train("run", max_steps=1)
    with pytest.raises(UserError, match=r"already holds a run, at epoch0-global_step1\. resume=latest goes on"):
        train("run", max_steps=2)


def test_resuming_from_an_earlier_checkpoint_needs_another_folder(train: Train) -> None:
    outputs = train("run", checkpoint__every=2)
    with pytest.raises(UserError, match="already holds a run"):
        train("run", resume=str(runfolder.checkpoints(outputs)[0]))
    branched = train("branch", resume=str(runfolder.checkpoints(outputs)[0]))
    assert_same_state(outputs, branched, step=6)
