"""What schedulers make of the same model, data and budget, and in how few steps.

Trains where there is something to train, then samples with ever more steps; the recipe's metrics judge the clips.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from rich.console import Console
from rich.table import Table
from vidgen import UserError, load_recipe, run


@frozen
class Course:
    """Scores of one recipe by number of steps: {steps: {name: share}}."""

    name: str
    scores: Mapping[int, Mapping[str, float]]


def courses(recipes: Iterable[Path], steps: Sequence[int], console: Console) -> list[Course]:
    """Run each recipe, or go on with it, then sample. Raises: UserError, for a recipe without metrics."""
    found = []
    for path in recipes:
        plain = load_recipe(path).plain()
        if plain["job"] == "train":
            run(load_recipe(path, ["resume=latest"]))
        scores = {}
        for count in steps:
            scores[count] = _sampled(_sample_recipe(path, plain, count))
            console.print(f"{path.stem}, {count} steps: {_shown(scores[count])}", highlight=False)
        found.append(Course(path.stem, scores))
    return found


def table(found: Sequence[Course], steps: Sequence[int]) -> list[list[str]]:
    """Header and rows; a cell holds the recipe's scores in per cent."""
    names = " / ".join(next(iter(found[0].scores.values()))) if found else ""
    header = [f"{names}, %", *(f"{count} steps" for count in steps)]
    return [header, *([one.name, *(_shown(one.scores[count]) for count in steps)] for one in found)]


def show(rows: Sequence[Sequence[str]], console: Console) -> None:
    """Print the table."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in rows[0]:
        shown.add_column(title)
    for row in rows[1:]:
        shown.add_row(*row)
    console.print(shown)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table for a page."""
    header, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rest]) + "\n"


def _sample_recipe(path: Path, plain: Mapping[str, Any], count: int) -> Any:
    """Of a sample recipe itself; of a training recipe, what its `sample` section says, from its last checkpoint."""
    outputs = Path(plain["outputs"]) / f"{count}_steps"
    if plain["job"] == "sample":
        overrides = [f"scheduler.num_sampling_steps={count}", f"outputs={outputs}", "trackers=[{type: csv}]"]
        return load_recipe(path, overrides)
    options = plain.get("sample")
    if not options or not options["metrics"]:
        raise UserError(f"{path}: nothing says how to judge its clips: give sample.metrics.")
    own = {key: value for key, value in options.items() if key not in ("every", "from_data") and value is not None}
    return load_recipe(
        {
            **own,
            "job": "sample",
            "seed": plain["seed"],
            "checkpoint": str(plain["outputs"]),
            "scheduler": {"num_sampling_steps": count},
            "trackers": [{"type": "csv"}],
            "outputs": str(outputs),
        }
    )


def _sampled(recipe: Any) -> dict[str, float]:
    """The scores of a sample recipe; made before, they are read again."""
    outputs = Path(recipe.plain()["outputs"])
    run(recipe)
    with (outputs / "scores.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: float(row["value"]) for row in csv.DictReader(file)}


def _shown(scores: Mapping[str, float]) -> str:
    return " / ".join(f"{100 * value:.0f}" for value in scores.values())
