"""`vidgen data merge A B ... -o OUT`: tables one below the other."""

from pathlib import Path

import click

from vidgen_data.options import FILE, FORCE, OUTPUT


@click.command()
@click.argument("metas", type=FILE, nargs=-1, required=True)
@OUTPUT
@click.option("--dedup", metavar="COLUMN", help="Keep the first row of each value, of path or text for instance.")
@FORCE
def command(metas: tuple[Path, ...], output: Path, dedup: str | None, force: bool) -> None:
    """Write the rows of all METAS, in order, with the columns that any of them has.

    Paths stay as they are: tables that start from different folders need one `root` that all paths are relative to.
    """
    from vidgen_data.merged import MergedSource
    from vidgen_data.output import check_output
    from vidgen_data.selection import Selection
    from vidgen_data.source import open_source
    from vidgen_data.terminal import console
    from vidgen_data.transfer import transfer

    check_output(output, force=force)
    merged = MergedSource([open_source(meta) for meta in metas])
    rows = Selection(dedup=dedup).rows(merged, merged.schema.names)
    kept = transfer(rows, list(merged.schema), output, force=force)
    console().print(f"{output}: {kept:,} of {merged.num_rows:,} rows from {len(metas)} tables")
