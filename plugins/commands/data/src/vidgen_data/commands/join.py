"""`vidgen data join META SCORES -o OUT`: columns of another table."""

from pathlib import Path

import click

from vidgen_data.options import FILE, FORCE, META, OUTPUT


@click.command()
@META
@click.argument("scores", type=FILE)
@OUTPUT
@click.option("--on", default="path", show_default=True, metavar="COLUMN", help="What rows are matched by.")
@click.option("--columns", metavar="NAMES", help="Columns to take, with commas; all that META lacks when silent.")
@FORCE
def command(meta: Path, scores: Path, output: Path, on: str, columns: str | None, force: bool) -> None:
    """Write META with the columns of SCORES beside its own.

    Rows without a match have no value there. A column that META has already is taken only if --columns names it.
    """
    from vidgen_data.joined import Join
    from vidgen_data.output import check_output
    from vidgen_data.source import open_source
    from vidgen_data.terminal import console
    from vidgen_data.transfer import transfer

    check_output(output, force=force)
    source = open_source(meta)
    join = Join(source, open_source(scores), on=on, columns=columns.split(",") if columns else None)
    rows = transfer(join.rows(), list(join.schema), output, force=force)
    shown = console()
    shown.print(f"{output}: {rows:,} rows, {join.matched:,} of them found in {scores}")
    shown.print(f"added: {', '.join(join.taken)}")
    if join.left:
        shown.print(f"kept as they are in {meta}: {', '.join(join.left)}")
