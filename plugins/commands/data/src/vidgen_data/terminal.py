"""What commands print: tables, plain lines, progress. Piped, it is whole lines without colours."""

import sys
from collections.abc import Container

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

WIDE = 10_000


def console() -> Console:
    """Where a command prints. Text is shown as it is: brackets are no markup, colons no emoji."""
    return Console(
        markup=False,
        emoji=False,
        highlight=False,
        width=None if sys.stdout.isatty() else WIDE,
        soft_wrap=not sys.stdout.isatty(),
    )


def table(*columns: str, numbers: Container[int] = ()) -> Table:
    """An empty table of these columns; nothing in it is cut short. numbers: which columns are set to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        made.add_column(column, overflow="fold", justify="right" if place in numbers else "left")
    return made


def progress() -> Progress:
    """A bar on stderr that goes when it is done; nothing where stderr is no terminal."""
    shown = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal)
