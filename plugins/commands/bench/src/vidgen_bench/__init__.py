"""Benchmarks: vidgen's parts against their alternatives, side by side in one process.

Offers the command `vidgen bench`. Read whenever vidgen starts, so nothing is measured or imported here.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vidgen import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def vidgen_commands() -> "Iterable[click.Command]":
    """Add `vidgen bench`."""
    from vidgen_bench.command import bench

    yield bench
