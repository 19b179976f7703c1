"""Checkpoints of a run with two networks.

The discriminator is kept as a run of its own inside the run's folder, `discriminator/checkpoints/epoch{E}-...`, under
the same names. It is saved first and retired later, so that to every checkpoint of the run there is one of the
discriminator, whenever a run is killed.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidgen import runfolder
from vidgen.engine import checkpoint
from vidgen.engine.checkpoint import Saved
from vidgen.errors import UserError

FOLDER = "discriminator"


def save(outputs: Path, saved: Saved, critic: Saved | None, state: Mapping[str, Any], keep: int | None) -> Path:
    """Write a checkpoint and delete all but the newest `keep`. Returns its folder. Raises: RunError, with every earlier
    one intact."""
    if critic is not None:
        checkpoint.save(outputs / FOLDER, critic, state, None if keep is None else keep + 1)
    return checkpoint.save(outputs, saved, state, keep)


def restore(start: Path, saved: Saved, critic: Saved | None) -> dict[str, Any]:
    """Read a checkpoint and return its state. Raises: UserError, when it is of other networks; RunError, when it is
    damaged."""
    state = checkpoint.restore(start, saved)
    if critic is not None:
        place = start.parents[1] / FOLDER / "checkpoints" / start.name
        if not place.is_dir():
            raise UserError(
                f"resume: {start} was saved without a discriminator (looked for {place}). To begin the game now, start "
                f"a new run with vae.from_pretrained={start}."
            )
        checkpoint.restore(place, critic)
    return state


def clear(outputs: Path, start: Path | None) -> None:
    """Remove what a killed run left half-written, or saved of the discriminator alone."""
    checkpoint.clear_partial(outputs)
    checkpoint.clear_partial(outputs / FOLDER)
    last = -1 if start is None else runfolder.step_of(start)
    for path in runfolder.checkpoints(outputs / FOLDER):
        if runfolder.step_of(path) > last:
            shutil.rmtree(path)
