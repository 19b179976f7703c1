"""Reading metrics.csv, also while it is being written."""

import csv
from pathlib import Path

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@frozen
class Metrics:
    """The training log. steps: (N,), rising; columns: name -> (N,), NaN where a row has no such number."""

    steps: Numbers
    columns: dict[str, Numbers]

    def known(self, name: str) -> tuple[Numbers, Numbers]:
        """Steps and values of a column where it is finite; empty when there is no such column."""
        values = self.columns.get(name, np.full_like(self.steps, np.nan))
        finite = np.isfinite(values)
        return self.steps[finite], values[finite]


def read_metrics(path: Path) -> Metrics | None:
    """None when there is no file or no row. Of rows with one step the last counts; rows without a step, such as a
    half-written last line, are skipped."""
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        table = csv.DictReader(file, restval="")
        rows = {_number(row["step"]): row for row in table if "step" in row}
        names = [name for name in table.fieldnames or [] if name != "step"]
    steps = sorted(step for step in rows if np.isfinite(step))
    if not steps:
        return None
    columns = {name: np.array([_number(rows[step][name]) for step in steps]) for name in names}
    return Metrics(np.array(steps), columns)


def smooth(values: Numbers) -> Numbers:
    """The centred mean over about a thirtieth of the curve (at least 5 points), one-sided at the ends."""
    half = max(2, len(values) // 60)
    index = np.arange(len(values))
    first = np.maximum(index - half, 0)
    end = np.minimum(index + half + 1, len(values))
    total = np.concatenate([[0.0], np.cumsum(values)])
    mean: Numbers = (total[end] - total[first]) / (end - first)
    return mean


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
