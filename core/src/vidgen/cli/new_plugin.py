"""`vidgen new-plugin NAME --kind KIND`: a plugin project that installs, runs and passes its tests as it is."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from shutil import rmtree

import click

from vidgen.errors import UserError
from vidgen.hookspecs import KINDS
from vidgen.registry import Registry
from vidgen.scaffold import project


@click.command()
@click.argument("name")
@click.option("--kind", required=True, help=f"What it adds: {', '.join(KINDS)}.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(), help="Where to put it; the current folder when silent."
)
def command(name: str, kind: str, folder: Path) -> None:
    """Start a plugin: write the project vidgen-NAME, which offers the component NAME of a kind."""
    distribution, texts = project(name, kind)
    component = distribution.removeprefix("vidgen-")
    _refuse_known(component, kind)
    target = folder / distribution
    _write(target, texts)
    click.echo(f"{target}: the {kind.replace('_', ' ')} {component}, ready to run. What to do next:\n")
    click.echo(f"    pip install -e '{target}[dev]'")
    click.echo(f"    vidgen show {component} --kind {kind}")
    click.echo(f"    pytest {target}")


def _refuse_known(component: str, kind: str) -> None:
    for offer in Registry.discover().offers(kind):
        if offer.component.name == component:
            raise UserError(
                f"{offer.distribution} offers the {kind.replace('_', ' ')} {component!r} already, and two plugins may "
                "not offer one name: choose another"
            )


def _write(target: Path, texts: Mapping[PurePosixPath, str]) -> None:
    if target.exists():
        raise UserError(f"{target} is there already, and nothing is overwritten: choose another name or --folder")
    try:
        for place, text in texts.items():
            path = target / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        rmtree(target, ignore_errors=True)
        raise UserError(f"{target} cannot be written ({error.strerror}): choose another --folder") from error
