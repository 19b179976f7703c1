"""`vidgen plugins`: what is installed, and what could not be loaded."""

import click
from rich.console import Console
from rich.table import Table

from vidgen.registry import Registry


@click.command()
def command() -> None:
    """List installed components: kind, name, distribution, version, summary."""
    registry = Registry.discover()
    table = Table("kind", "name", "distribution", "version", "summary", box=None, pad_edge=False, header_style="bold")
    for offer in registry.offers():
        component = offer.component
        table.add_row(offer.kind, component.name, offer.distribution, offer.version, component.summary)
    console = Console()
    console.print(table)
    for broken in registry.broken:
        console.print(
            f"could not be loaded: {broken.plugin} of {broken.distribution}: {broken.error}", style="red", markup=False
        )
