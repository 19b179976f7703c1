"""The layout of a run's folder, by names alone; texts that are written whole or not at all."""

import json
import signal
import subprocess
import sys
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


def test_a_text_replaces_the_one_before_with_its_line_ends_as_they_are(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    for text in ("a: ж\n", "b: 1\r\nc: 2\n", ""):
        runfolder.write_whole(path, text)
        assert path.read_bytes() == text.encode()
    assert list(tmp_path.iterdir()) == [path]


WRITER = """
import resource, signal, sys
from pathlib import Path
from vidgen import RunError, runfolder
signal.signal(signal.SIGXFSZ, getattr(signal, sys.argv[2]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    runfolder.write_whole(Path(sys.argv[1]), "new " * 1000)
except RunError as error:
    print(error)
"""
"""A process whose files may have a kilobyte: what writes more ends it, or fails, in the middle."""


def write_too_much(path: Path, at_the_limit: str) -> subprocess.CompletedProcess[str]:
    path.write_text("old")
    command = [sys.executable, "-c", WRITER, str(path), at_the_limit]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_process_killed_while_it_writes_leaves_the_text_before_whole(tmp_path: Path):
    """The next one is not disturbed by what lies there half-written."""
    path = tmp_path / "scores.csv"
    assert write_too_much(path, "SIG_DFL").returncode == -signal.SIGXFSZ
    assert path.read_text() == "old"
    (left,) = [one for one in tmp_path.iterdir() if one != path]
    assert left.stat().st_size == 1000 and left.name.startswith(".")
    runfolder.write_whole(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_text_that_cannot_be_written_is_told_of_and_leaves_the_one_before(tmp_path: Path):
    path = tmp_path / "scores.csv"
    assert write_too_much(path, "SIG_IGN").stdout == f"{path} cannot be written: File too large\n"
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(RunError, match=r"nowhere/scores\.csv cannot be written: No such file or directory$"):
        runfolder.write_whole(tmp_path / "nowhere" / "scores.csv", "new")
