"""Results for the person at the terminal."""

import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from vidgen_evaluate.figures import Difference, Figure

WIDE = 10_000  # whole lines for a pipe or a file, which have no width to fit
WORDS = ("value", "better", "worst clip")


def show_figures(figures: Mapping[str, Figure], overall: Mapping[str, float]) -> None:
    """Print the table. overall: values of all clips together; those that no single clip has come last."""
    columns = ("value", "better", "clips", "mean", "median", "lowest", "highest", "worst clip")
    rows = []
    for name, one in figures.items():
        numbers = [_number(value) for value in (one.mean, one.median, one.lowest, one.highest)]
        rows.append([name, one.better, str(one.clips), *numbers, one.worst_clip or ""])
    rows += [[f"{name} (of all)", "", "", _number(value)] for name, value in overall.items() if name not in figures]
    _print(columns, rows)


def show_differences(found: Mapping[str, Difference], names: tuple[str, str]) -> None:
    """Print the table. names: of the two folders."""
    columns = ("value", "better", *names, "in both", "difference", "better here")
    rows = []
    for name, one in found.items():
        change = "" if one.change is None else f"{one.change:+.4g}"
        wins = "" if one.wins is None else f"{one.wins} of {one.both}"
        rows.append([name, one.better, _number(one.here), _number(one.there), str(one.both), change, wins])
    _print(columns, rows)


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, overflow="fold", justify="left" if name in WORDS else "right")
    for row in rows:
        made.add_row(*row)
    width = None if sys.stdout.isatty() else WIDE
    Console(markup=False, emoji=False, highlight=False, width=width).print(made)


def _number(value: float) -> str:
    return f"{value:.4g}"
