"""`vidgen data shard META -n 8 -o PREFIX`: equal parts."""

from pathlib import Path

import click

from vidgen_data.options import FORCE, META, PREFIX


@click.command()
@META
@click.option("-n", "--parts", required=True, type=click.IntRange(min=1, max=99999), help="How many.")
@PREFIX
@FORCE
def command(meta: Path, parts: int, prefix: str, force: bool) -> None:
    """Write PREFIX-00000-of-00008 and so on, with META's ending. Merged in order they are META again."""
    from vidgen_data.parts import in_order, listing, part_names, write_parts
    from vidgen_data.source import open_source
    from vidgen_data.terminal import console

    source = open_source(meta)
    outputs = part_names(prefix, meta.suffix, parts)
    counts = write_parts(source, outputs, in_order(source.num_rows, parts), force=force)
    for line in listing(outputs, counts):
        console().print(line)
