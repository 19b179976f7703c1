"""`vidgen data filter META -o OUT`: some rows of a table."""

from pathlib import Path

import click

from vidgen_data.options import FORCE, META, OUTPUT

TRAIN_COLUMNS = ("path", "text", "num_frames", "height", "width", "aspect_ratio", "fps", "resolution")


@click.command()
@META
@OUTPUT
@click.option("--where", help='A condition, such as "num_frames >= 51 and text ~ \\"dog\\"".')
@click.option("--dedup", metavar="COLUMN", help="Keep the first row of each value, of path or text for instance.")
@click.option("--sample", type=click.IntRange(min=0), help="Keep so many rows, drawn by path and --seed.")
@click.option("--seed", default=0, help="Of --sample.", show_default=True)
@click.option("--limit", type=click.IntRange(min=0), help="Keep the first so many rows.")
@click.option("--train-columns", is_flag=True, help=f"Keep only {', '.join(TRAIN_COLUMNS)}.")
@FORCE
def command(
    meta: Path,
    output: Path,
    where: str | None,
    dedup: str | None,
    sample: int | None,
    seed: int,
    limit: int | None,
    train_columns: bool,
    force: bool,
) -> None:
    """Write the rows of META that fulfil --where, without duplicates, as a sample, the first ones; in this order."""
    from vidgen_data.expression import Expression
    from vidgen_data.output import check_output
    from vidgen_data.selection import Selection
    from vidgen_data.source import open_source
    from vidgen_data.terminal import console
    from vidgen_data.transfer import transfer

    check_output(output, force=force)
    source = open_source(meta)
    selection = Selection(
        where=Expression(where, source.schema) if where is not None else None,
        dedup=dedup,
        sample=sample,
        limit=limit,
        seed=seed,
    )
    names = [name for name in source.schema.names if name in TRAIN_COLUMNS or not train_columns]
    kept = transfer(selection.rows(source, names), [source.schema.field(name) for name in names], output, force=force)
    console().print(f"{output}: {kept:,} of {source.num_rows:,} rows")
