"""The layout of a run's folder, by names alone."""

import json
from pathlib import Path

import pytest
from vidgen import runfolder
from vidgen.errors import RunError, UserError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with three checkpoints and things that are none."""
    for name in ("epoch0-global_step9", "epoch0-global_step10", "epoch0-global_step5"):
        (tmp_path / "run/checkpoints" / name).mkdir(parents=True)
    for name in ("epoch1-global_step11.tmp", ".epoch1-global_step12", "epoch1-global_stepx", "epoch-global_step13"):
        (tmp_path / "run/checkpoints" / name).mkdir()
    (tmp_path / "run/checkpoints/epoch2-global_step14").touch()  # a file
    return tmp_path / "run"


def test_a_name_says_epoch_and_step_and_is_read_back():
    assert runfolder.checkpoint_name(3, 1200) == "epoch3-global_step1200"
    assert runfolder.step_of(Path("a/epoch3-global_step1200")) == 1200
    with pytest.raises(UserError, match=r"^a/b is not named like a checkpoint \(epoch0-global_step1000\)$"):
        runfolder.step_of(Path("a/b"))


def test_checkpoints_are_ordered_by_step_and_only_whole_ones_count(run: Path):
    assert [path.name for path in runfolder.checkpoints(run)] == [
        "epoch0-global_step5",
        "epoch0-global_step9",
        "epoch0-global_step10",
    ]
    assert runfolder.latest(run) == run / "checkpoints/epoch0-global_step10"


def test_a_run_that_saved_nothing_has_no_checkpoint(tmp_path: Path):
    assert runfolder.checkpoints(tmp_path) == []
    assert runfolder.latest(tmp_path / "nowhere") is None


def test_a_checkpoint_is_found_from_its_run_or_from_itself(run: Path):
    assert runfolder.find_checkpoint(run) == run / "checkpoints/epoch0-global_step10"
    first = run / "checkpoints/epoch0-global_step5"
    assert runfolder.find_checkpoint(first) == first
    with pytest.raises(UserError) as caught:
        runfolder.find_checkpoint(run / "checkpoints")
    assert str(caught.value) == (
        f"no checkpoint in {run}/checkpoints: looked for {run}/checkpoints/checkpoints/epoch*-global_step*. "
        "Give a run's folder (outputs/quickstart) or a checkpoint's."
    )


def test_a_state_is_read_as_it_was_written(run: Path):
    checkpoint = runfolder.find_checkpoint(run)
    (checkpoint / "state.json").write_text(json.dumps({"step": 10, "text": "ж"}))
    assert runfolder.read_state(checkpoint) == {"step": 10, "text": "ж"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read ([Errno 2] No such file or directory"),
        (b'{"step": 1', "cannot be read (Expecting ',' delimiter"),
        (b"", "cannot be read (Expecting value"),
        (b"\xff\xfe", "cannot be read ('utf-8' codec can't decode"),
        (b"[1, 2]", "holds no mapping"),
    ],
)
def test_a_damaged_state_is_told_by_its_checkpoint(run: Path, content: bytes | None, reason: str):
    checkpoint = runfolder.find_checkpoint(run)
    if content is not None:
        (checkpoint / "state.json").write_bytes(content)
    with pytest.raises(RunError) as caught:
        runfolder.read_state(checkpoint)
    assert str(caught.value).startswith(f"the checkpoint {checkpoint} is damaged: state.json {reason}")
    assert str(caught.value).endswith("Use an earlier one.")
