"""What a recipe says otherwise than the run that it is to go on with."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vidgen.errors import UserError

LOG = logging.getLogger("vidgen")
FREE = (
    *("outputs", "resume", "force", "max_steps", "epochs", "log", "checkpoint", "sample", "trackers"),
    *("num_workers", "sample_timeout", "step_timeout", "max_bad_fraction", "max_loss_ratio", "features"),
    *("held_out.every", "held_out.timesteps", "optimizer.implementation"),
    *("parallel", "attention", "compile", "grad_checkpoint", "model.from_pretrained"),
)
"""Keys that decide how long, how fast and where, and not what is learned."""
SHOWN = 10
LONGEST = 80  # characters of a value: sections have many
OF_THE_COMMAND = ("resume", "force")
"""Keys that say how this command goes on, and nothing of the run."""


def check_changes(before: Mapping[str, Any], now: Mapping[str, Any], checkpoint: Path, *, force: bool) -> None:
    """Log what changed since the checkpoint was written. before, now: resolved recipes.

    Raises: UserError, when what changed makes another run of it, unless `force`. What would damage it, such as another
    model, is refused in any case where the checkpoint is read.
    """
    now = json.loads(json.dumps(now))  # as it was kept: keys are texts there
    found = [one for one in differences(before, now) if one[0] not in OF_THE_COMMAND]
    for key, old, new in found:
        LOG.info("changed since %s: %s: %s -> %s", checkpoint.name, key, _short(old), _short(new))
    course = [one for one in found if not any(one[0] == free or one[0].startswith(f"{free}.") for free in FREE)]
    if not course or force:
        return
    lines = [f"    {key}: {_short(old)} -> {_short(new)}" for key, old, new in course[:SHOWN]]
    more = [f"    and {len(course) - SHOWN} more"] if len(course) > SHOWN else []
    raise UserError(
        "\n".join(
            [
                f"resume: the recipe has changed since {checkpoint} was written, in ways that change what is learned:",
                *lines,
                *more,
                "Undo the changes; or go on all the same with --force; or start anew from its weights, with "
                f"outputs=ANOTHER/FOLDER model.from_pretrained={checkpoint}.",
            ]
        )
    )


def tell_ranks(before: int, now: int, checkpoint: Path) -> None:
    """Warn of another number of ranks, which no recipe tells. before, now: those with batches of their own."""
    if before != now:
        LOG.warning(
            "%s was written by ranks with %d batches a step, and this run has %d: steps see as many rows as before "
            "where accumulation_steps makes up for it",
            *(checkpoint.name, before, now),
        )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def differences(before: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Key path, old and new value. A key that the old recipe does not know came with a newer version, and is none."""
    for key, old in before.items():
        path, new = f"{above}{key}", now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{path}.")
        elif old != new:
            yield path, old, new
