"""`vidgen convert-weights SOURCE -o TARGET --to LAYOUT`: weights of one project in the form of another."""

from pathlib import Path

import click


@click.command(name="convert-weights", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source")
@click.option(
    "-o", "--output", "target", required=True, type=click.Path(path_type=Path), help="File or folder to write."
)
@click.option("--to", "layout", required=True, metavar="LAYOUT", help="vidgen, original, opensora, diffusers or names.")
@click.option("--model", "kind", metavar="TYPE", help="What the weights are of, where they do not tell.")
@click.option("--set", "options", metavar="KEY=VALUE", multiple=True, help="An option of it, such as depth=12.")
@click.option("--no-ema", is_flag=True, help="Of a checkpoint, take the weights themselves, not their average.")
@click.option("--force", is_flag=True, help="Replace what is there.")
def convert_weights(
    source: str, target: Path, layout: str, kind: str | None, options: tuple[str, ...], no_ema: bool, force: bool
) -> None:
    """Write weights in another layout: the project's own, Open-Sora's, diffusers', or vidgen's safetensors.

    SOURCE is a file (.safetensors, .pt, .pth, .bin), a folder, a checkpoint, a run, or a Hugging Face id. Nothing in it
    is run: a pickle that holds more than tensors is refused.
    """
    from vidgen_convert.weights.conversion import Wish, convert

    wish = Wish(source=source, target=target, layout=layout, kind=kind, options=options, ema=not no_ema, force=force)
    for line in convert(wish):
        click.echo(line, err=True)
