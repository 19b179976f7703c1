"""What a recipe says otherwise than the run that it is to go on with."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vidgen.engine.adapting import FOLDER
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
BEFORE_IT = 20  # of these, in front of the first that differs
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
        LOG.info("changed since %s: %s: %s", checkpoint.name, key, _told(old, new))
    course = [one for one in found if not _is_free(one[0])]
    if not course or force:
        return
    lines = [f"    {key}: {_told(old, new)}" for key, old, new in course[:SHOWN]]
    more = [f"    and {len(course) - SHOWN} more"] if len(course) > SHOWN else []
    raise UserError(
        "\n".join(
            [
                f"resume: the recipe has changed since {checkpoint} was written, in ways that change what is learned:",
                *lines,
                *more,
                f"Undo the changes; or go on all the same with --force; or start anew {_anew(before, checkpoint)}.",
            ]
        )
    )


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith((f"{free}.", f"{free}[")) for free in FREE)


def _anew(before: Mapping[str, Any], checkpoint: Path) -> str:
    """How another run begins with what this one learned. Its model's layers have other names under adapters, so that
    the checkpoint is no model's."""
    if not (checkpoint / FOLDER).is_dir():
        return f"from its weights, with outputs=ANOTHER/FOLDER model.from_pretrained={checkpoint}"
    folded = (
        f"from its weights with the adapters folded in, by `vidgen export {checkpoint} -o NEW.safetensors` and "
        "outputs=ANOTHER/FOLDER model.from_pretrained=NEW.safetensors"
    )
    adapters = before.get("adapters", ())
    if len(adapters) != 1:
        return folded
    given = f"adapters: [{{type: {adapters[0]['type']}, from_pretrained: {checkpoint}}}]"
    return f"{folded}; or with its adapter on the model that it was put on, with outputs=ANOTHER/FOLDER and {given}"


def tell_ranks(before: int, now: int, checkpoint: Path) -> None:
    """Warn of another number of ranks, which no recipe tells. before, now: those with batches of their own."""
    if before != now:
        LOG.warning(
            "%s was written by a run that read %d batches at a time, one a rank; this one reads %d: steps see as many "
            "rows as before where accumulation_steps makes up for it",
            *(checkpoint.name, before, now),
        )


def _told(old: Any, new: Any) -> str:
    """Both values; of long ones the part where they begin to differ."""
    texts = str(old), str(new)
    if max(map(len, texts)) <= LONGEST:
        return " -> ".join(texts)
    shorter = min(map(len, texts))
    same = next((place for place in range(shorter) if texts[0][place] != texts[1][place]), shorter)
    start = max(0, same - BEFORE_IT)
    return " -> ".join(_cut(text, start) for text in texts)


def _cut(text: str, start: int) -> str:
    end = start + LONGEST
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"


def differences(before: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Key path, old and new value. A key that the old recipe does not know came with a newer version, and is none."""
    for key, old in before.items():
        yield from _between(old, now.get(key), f"{above}{key}")


def _between(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        yield from differences(old, new, f"{path}.")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _between(one, other, f"{path}[{place}]")
    elif old != new:
        yield path, old, new
