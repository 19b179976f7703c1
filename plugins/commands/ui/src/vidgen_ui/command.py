"""`vidgen ui`: from a recipe or a run to an address that a browser opens. Imports torch only when it starts work."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from vidgen.errors import UserError

if TYPE_CHECKING:
    from vidgen.recipe import Recipe

    from vidgen_ui.server import PageServer

PORT = 7860
PLACEHOLDER = 'prompts=["-"]'
"""A sample recipe needs a prompt; the page brings its own."""


@click.command()
@click.argument("source", metavar="RECIPE_OR_RUN", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY.PATH=VALUE]...")
@click.option("--port", default=PORT, type=click.IntRange(0, 65535), help="Of this machine; 0 takes a free one.")
@click.option(
    "--outputs",
    default=Path("outputs/ui"),
    type=click.Path(path_type=Path, file_okay=False),
    help="Clips go to numbered folders in here.",
)
def ui(source: Path, overrides: tuple[str, ...], port: int, outputs: Path) -> None:
    """Sample in the browser, on this machine alone.

    RECIPE_OR_RUN: a recipe with `job: sample`, or the folder of a run or a checkpoint. KEY.PATH=VALUE changes any key.
    """
    recipe = sample_recipe(source, overrides)
    from vidgen_ui.line import Line
    from vidgen_ui.server import PageServer
    from vidgen_ui.studio import Studio
    from vidgen_ui.uploads import Uploads

    studio = Studio(recipe)
    with Line(studio, outputs) as line, PageServer(port, studio, line, Uploads(outputs)) as server:
        _serve(server)


def sample_recipe(source: Path, overrides: tuple[str, ...] = ()) -> "Recipe":
    """The recipe that the page starts from. Raises: UserError."""
    from vidgen.recipe import load_recipe
    from vidgen.recipe.source import read_source

    changes = [*overrides, PLACEHOLDER]
    if source.is_dir():
        return load_recipe({"job": "sample", "checkpoint": str(source)}, changes)
    job = read_source(source, overrides).data.get("job")
    if job != "sample":
        raise UserError(
            f"{source}: the page samples, and this recipe says job: {job}. Give a recipe with job: sample, or the "
            "folder of a run that was trained, such as outputs/quickstart."
        )
    return load_recipe(source, changes)


def _serve(server: "PageServer") -> None:
    """Until Ctrl-C."""
    click.echo(f"open {server.address} in a browser of this machine; Ctrl-C ends")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo("ended; clips made before stay")
