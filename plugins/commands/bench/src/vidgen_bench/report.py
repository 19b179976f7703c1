"""Runs comparisons one by one and prints what they show."""

import json
import platform
from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

import attrs
import torch
from rich.console import Console
from rich.table import Table
from vidgen.runfolder import write_whole

from vidgen_bench.comparison import Comparison, Outcome, compare


def report(
    comparisons: Iterable[Comparison], *, only: str, repeats: int, threads: int | None, json_path: Path | None
) -> None:
    """Run what `only` names, print a line as each is done, then the table; and the figures as JSON where asked for."""
    if threads is not None:
        torch.set_num_threads(threads)
    console, outcomes = Console(highlight=False), {}
    console.print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}")
    for comparison in comparisons:
        if only in comparison.name:
            with console.status(comparison.name):
                outcomes[comparison] = compare(comparison, repeats)
            console.print(f"{comparison.name}: {_ratio(outcomes[comparison])}")
    console.print(_table(outcomes))
    if json_path is not None:
        _write(json_path, {one.name: _figures(one, outcome) for one, outcome in outcomes.items()})


def _table(outcomes: dict[Comparison, Outcome]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("what", "against", "ours", "theirs", "ratio", "goal", "results apart"):
        table.add_column(column, justify="left" if column in ("what", "against") else "right", overflow="fold")
    for one, outcome in outcomes.items():
        figures = [f"{median(values):.3g} {one.unit}" for values in (outcome.ours, outcome.theirs)]
        table.add_row(
            one.name,
            one.against,
            *figures,
            _ratio(outcome),
            one.verdict(outcome),
            "" if outcome.difference is None else f"{outcome.difference:.1e}",
        )
    return table


def _ratio(outcome: Outcome) -> str:
    least, most = outcome.ratios
    return f"{outcome.ratio:.2f} ({least:.2f} to {most:.2f})"


def _figures(comparison: Comparison, outcome: Outcome) -> dict[str, Any]:
    ratio = outcome.ratio if isfinite(outcome.ratio) else None  # JSON has no word for it
    return {**attrs.asdict(outcome), "ratio": ratio, "goal": comparison.goal, "unit": comparison.unit}


def _write(path: Path, figures: dict[str, Any]) -> None:
    text = json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "figures": figures}, indent=2)
    write_whole(path, text + "\n")
