"""The layout of a run's folder: what is where, which checkpoint is the newest, what it was made with; and its texts,
which are written whole or not at all.

    recipe.yaml  metrics.csv  log.txt  samples/
    checkpoints/epoch{E}-global_step{S}/    model/  ema/  optimizer/  state.json

A checkpoint is written under another name and renamed when whole, so a folder with a checkpoint's name is complete.
"""

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from vidgen.errors import RunError, UserError

NAME = re.compile(r"epoch(\d+)-global_step(\d+)")


def write_whole(path: Path, text: str, *, partial: Path | None = None) -> None:
    """Write a text in UTF-8, its line ends as they are, under another name, to disk, and then under its own: whoever
    reads, and whatever stops it, there is the old file or the new one. partial: the other name, beside `path`; where
    several processes may write at once, each has one of its own. Raises: RunError, with the old one intact."""
    partial = partial or path.with_name(f".{path.name}")
    try:
        partial.write_bytes(text.encode())
        flush(partial)
        partial.replace(path)
        flush(path.parent)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise RunError(f"{path} cannot be written: {error.strerror}") from error


def flush(path: Path) -> None:
    """See that what was written to a file, or the names in a folder, are on disk. Raises: OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checkpoint_name(epoch: int, step: int) -> str:
    """The folder name of a checkpoint after `step` steps in all, in epoch `epoch` counted from 0."""
    return f"epoch{epoch}-global_step{step}"


def step_of(checkpoint: Path) -> int:
    """The step a checkpoint's folder name says. Raises: UserError, when it is no such name."""
    match = NAME.fullmatch(checkpoint.name)
    if match is None:
        raise UserError(f"{checkpoint} is not named like a checkpoint (epoch0-global_step1000)")
    return int(match[2])


def checkpoints(outputs: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    folder = outputs / "checkpoints"
    found = [path for path in folder.glob("epoch*-global_step*") if NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=step_of)


def latest(outputs: Path) -> Path | None:
    """The newest complete checkpoint of a run, if there is one."""
    return next(reversed(checkpoints(outputs)), None)


def find_checkpoint(path: Path) -> Path:
    """A checkpoint's folder, from it or from its run's folder. Raises: UserError."""
    if NAME.fullmatch(path.name) and path.is_dir():
        return path
    newest = latest(path)
    if newest is None:
        raise UserError(
            f"no checkpoint in {path}: looked for {path}/checkpoints/epoch*-global_step*. "
            "Give a run's folder (outputs/quickstart) or a checkpoint's."
        )
    return newest


def read_state(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's state.json. Raises: RunError, when it is missing or damaged."""
    path = checkpoint / "state.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"the checkpoint {checkpoint} is damaged: {path.name} cannot be read ({error}). Use an earlier one."
        ) from error
    if not isinstance(state, dict):
        raise RunError(f"the checkpoint {checkpoint} is damaged: {path.name} holds no mapping. Use an earlier one.")
    return state
