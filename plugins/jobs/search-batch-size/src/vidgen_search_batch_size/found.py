"""What a search came to: a table to look at, and the recipe to train with."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from attrs import frozen
from rich.console import Console
from rich.table import Table
from vidgen.interfaces import Size3
from vidgen.recipe.source import dump_yaml

from vidgen_search_batch_size.search import Found
from vidgen_search_batch_size.spans import Key, bucket_name, entries_of

COLUMNS = ("bucket", "clip", "tokens", "trials", "batch size", "s per step", "clips per s", "note")
WIDE = 10_000  # whole lines for a pipe or a file, which have no width to fit
LEFT_OUT = "left out: "


@frozen(kw_only=True)
class Result:
    """Of one bucket.

    size, tokens: of the clip it was searched with, (frames, rows, columns) in pixels. trials: sizes tried in turn, with
    seconds of a step, None where they did not fit; none where the guess was taken as it is. upper: end of the range.
    """

    key: Key
    size: Size3
    tokens: int
    trials: tuple[tuple[int, float | None], ...]
    found: Found
    upper: int

    def note(self, goal: float | None) -> str:
        """Why it is as it is, where that is not plain."""
        if not self.trials:
            return "taken as given"
        if self.found.batch_size:
            return "end of its range: a larger one may do" if self.found.batch_size == self.upper else ""
        smallest, seconds = min(self.trials)
        if seconds is None:
            return f"{LEFT_OUT}a batch of {_clips(smallest)} does not fit in memory"
        return f"{LEFT_OUT}a step of {_clips(smallest)} takes {seconds:.4g} s, no less than {goal:.4g} s"


def show(results: Iterable[Result], goal: float | None) -> None:
    """Print the table."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        made.add_column(name, overflow="fold", justify="left" if name in ("bucket", "clip", "note") else "right")
    for one in results:
        size, seconds = one.found.batch_size, one.found.step_time
        times = (f"{seconds:.4g}", f"{size / seconds:.4g}") if seconds else ("", "")
        clip = " x ".join(map(str, one.size))
        made.add_row(
            bucket_name(one.key), clip, f"{one.tokens:,}", str(len(one.trials)), str(size), *times, one.note(goal)
        )
    width = None if sys.stdout.isatty() else WIDE
    Console(markup=False, emoji=False, highlight=False, width=width).print(made)


def recipe_text(
    plain: Mapping[str, Any], results: Sequence[Result], *, goal: float | None, measured: Iterable[str]
) -> str | None:
    """The training recipe with the sizes that were found, as YAML; None where no bucket is left.

    plain: the resolved recipe of the search. goal: seconds of a step. measured: lines on how, for the reader.
    """
    recipe = {key: deepcopy(value) for key, value in plain.items() if key not in ("job", "search", "outputs")}
    config = _filled(recipe["bucketer"]["bucket_config"], {one.key: one.found.batch_size for one in results})
    if not any(entry[-1] for _, _, entry in entries_of(config)):
        return None
    recipe["bucketer"]["bucket_config"] = config
    lines = [*measured, *(_line(one, goal) for one in results)]
    return "".join(f"# {line}\n" for line in lines) + dump_yaml({"job": "train", **recipe})


def _filled(config: Mapping[Any, Any], sizes: Mapping[Key, int]) -> dict[Any, Any]:
    """Probabilities stay. A bucket whose size is 0 goes, and its clips go where the bucketer sends them without it."""
    filled: dict[Any, dict[Any, Any]] = {}
    for key, (name, frames), (keep, size) in entries_of(config):
        if sizes.get(key) != 0:
            filled.setdefault(name, {})[frames] = [keep, sizes.get(key, size)]
    return filled


def _line(result: Result, goal: float | None) -> str:
    found = result.found
    size = [_clips(found.batch_size)] if found.batch_size else []
    seconds = [f"{found.step_time:.4g} s per step"] if found.step_time else []
    return f"{bucket_name(result.key)}: {'; '.join(one for one in (*size, *seconds, result.note(goal)) if one)}"


def _clips(count: int) -> str:
    return f"{count} clip{'' if count == 1 else 's'}"
