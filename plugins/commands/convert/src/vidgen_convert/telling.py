"""What the person at the terminal is told about a conversion, on stderr."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from vidgen.errors import RecipeError, VidgenError
from vidgen.recipe import load_recipe
from vidgen.recipe.source import Loader
from yaml import load

from vidgen_convert.draft import Draft


def tell(draft: Draft, text: str, output: Path | None) -> None:
    """Remarks, what has no counterpart, and what the recipe still lacks."""
    _listed("Notes:", draft.remarks())
    _listed("Without a counterpart in vidgen:", map(str, draft.lost))
    _listed("Nothing has to be said for:", map(str, draft.needless))
    lacking = list(still_lacking(text, output))
    _listed("Still to do before it runs:", lacking)
    if output is not None:
        check = "" if lacking else f". Look at what it would do: vidgen-run {output} --dry-run"
        click.echo(f"{output}: job {draft.data['job']}{check}", err=True)


def still_lacking(text: str, output: Path | None) -> Iterable[str]:
    """What is wrong with the recipe as it stands: files that are not here, plugins that are not installed."""
    data: Mapping[str, Any] = load(text, Loader)
    try:
        load_recipe(output or data)
    except RecipeError as error:
        return [str(problem) for problem in error.problems]
    except VidgenError as error:
        return [str(error)]
    return []


def _listed(title: str, entries: Iterable[str]) -> None:
    for number, entry in enumerate(entries):
        if number == 0:
            click.echo(title, err=True)
        click.echo("  - " + entry.replace("\n", "\n    "), err=True)
