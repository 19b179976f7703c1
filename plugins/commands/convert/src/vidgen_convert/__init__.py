"""Configurations and weights of other projects, brought to vidgen.

Offers the commands `vidgen convert` and `vidgen convert-weights`. Read whenever vidgen starts, so nothing is imported
before a command is asked for; neither runs anything of the files it reads.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vidgen import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def vidgen_commands() -> "Iterable[click.Command]":
    """Add `vidgen convert` and `vidgen convert-weights`."""
    from vidgen_convert.convert_command import convert
    from vidgen_convert.weights_command import convert_weights

    yield convert
    yield convert_weights
