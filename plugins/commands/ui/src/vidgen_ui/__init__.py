"""A page in the browser: type a prompt, get a clip.

Offers the command `vidgen ui`. Read whenever vidgen starts, so nothing is imported before the command is called.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vidgen import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def vidgen_commands() -> "Iterable[click.Command]":
    """Add `vidgen ui`."""
    from vidgen_ui.command import ui

    yield ui
