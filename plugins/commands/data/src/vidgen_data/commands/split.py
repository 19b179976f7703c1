"""`vidgen data split META -o PREFIX`: training and validation."""

from pathlib import Path

import click

from vidgen_data.options import FORCE, META, PREFIX


@click.command()
@META
@PREFIX
@click.option(
    "--val",
    default=0.01,
    show_default=True,
    type=click.FloatRange(min=0, max=1),
    help="Share of rows for validation, about.",
)
@click.option("--seed", default=0, show_default=True, help="Another seed divides in another way.")
@click.option("--by", default="path", show_default=True, metavar="COLUMN", help="Rows of one value stay together.")
@FORCE
def command(meta: Path, prefix: str, val: float, seed: int, by: str, force: bool) -> None:
    """Write PREFIX_train and PREFIX_val, with META's ending.

    On which side a row comes depends on its path and the seed alone: it stays there when the table grows.
    """
    from vidgen_data.parts import by_share, listing, split_names, write_parts
    from vidgen_data.source import check_column, open_source
    from vidgen_data.terminal import console

    source = open_source(meta)
    check_column(source, by)
    outputs = split_names(prefix, meta.suffix)
    counts = write_parts(source, outputs, by_share(by, val, seed), force=force)
    for line in listing(outputs, counts):
        console().print(line)
