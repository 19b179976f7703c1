"""`vidgen plugins`: what is installed, and what could not be loaded."""

import click

from vidgen.cli.table import console, table
from vidgen.registry import Registry


@click.command()
def command() -> None:
    """List installed components: kind, name, distribution, version, summary."""
    registry = Registry.discover()
    listed = table("kind", "name", "distribution", "version", "summary")
    for offer in registry.offers():
        component = offer.component
        listed.add_row(offer.kind, component.name, offer.distribution, offer.version, component.summary)
    console().print(listed)
    for broken in registry.broken:
        console().print(f"could not be loaded: {broken.plugin} of {broken.distribution}: {broken.error}", style="red")
