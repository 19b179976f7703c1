"""Commands for tables of clips: made from folders, checked, planned, looked at, cut.

Offers the command `vidgen data`. Read whenever vidgen starts, so nothing is imported before the command is called.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vidgen import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def vidgen_commands() -> "Iterable[click.Command]":
    """Add `vidgen data`."""
    from vidgen_data.command import data

    yield data
