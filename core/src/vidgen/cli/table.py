"""Tables on the terminal; whole lines for a pipe or a file, which have no width to fit."""

import sys
from collections.abc import Container

from rich.console import Console
from rich.table import Table

WIDE = 10_000


def console() -> Console:
    """Where a command prints. Text is shown as it is: brackets are no markup, colons no emoji."""
    return Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else WIDE)


def table(*columns: str, header: bool = True, numbers: Container[int] = ()) -> Table:
    """An empty table of these columns; nothing in it is cut short. numbers: which columns are set to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_header=header)
    for place, column in enumerate(columns):
        made.add_column(column, overflow="fold", justify="right" if place in numbers else "left")
    return made
