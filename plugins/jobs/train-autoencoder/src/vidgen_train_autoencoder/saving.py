"""Checkpoints of a run with two networks.

The discriminator is kept as a run of its own inside the run's folder, `discriminator/checkpoints/epoch{E}-...`, under
the same names. It is saved first and retired later, so that to every checkpoint of the run there is one of the
discriminator, whenever a run is killed.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vidgen import runfolder
from vidgen.engine import checkpoint
from vidgen.engine.checkpoint import Saved
from vidgen.engine.saver import Saver
from vidgen.errors import UserError
from vidgen.mesh import World
from vidgen.recipe.schema import CheckpointOptions

FOLDER = "discriminator"


class Savers:
    """Of both networks, by all ranks together. done: told of every checkpoint that is complete.

    The discriminator is written at once; the autoencoder may follow in the background.
    """

    def __init__(
        self,
        outputs: Path,
        world: World,
        options: CheckpointOptions,
        *,
        discriminates: bool,
        done: Callable[[Path, int], None],
    ) -> None:
        keep = options.keep
        self._main = Saver(outputs, world, keep=keep, background=options.background, done=done)
        more, folder = None if keep is None else keep + 1, outputs / FOLDER
        self._critic = (
            Saver(folder, world, keep=more, background=False, done=lambda *_: None) if discriminates else None
        )

    def save(self, saved: Saved, critic: Saved | None, state: Mapping[str, Any]) -> None:
        """Write a checkpoint, or begin to, and delete all but the newest. Raises: RunError, with every earlier one
        intact."""
        self._main.finish()  # before the discriminator that belongs to it may be deleted
        if self._critic is not None and critic is not None:
            self._critic.save(critic, state)
        self._main.save(saved, state)

    def poll(self) -> None:
        """Tell of what was written meanwhile. Raises: RunError, when that failed."""
        self._main.poll()

    def finish(self) -> None:
        """Wait for what is being written. Raises: RunError, when it cannot be."""
        self._main.finish()


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
