"""`vidgen data info META`: what is in a table."""

from pathlib import Path

import click

from vidgen_data.options import META


@click.command()
@META
def command(meta: Path) -> None:
    """Print rows, columns, missing values, histograms of sizes and lengths, and hours of video."""
    from vidgen_data.description import EDGES, describe, lines
    from vidgen_data.source import open_source
    from vidgen_data.terminal import console, table

    found, shown = describe(open_source(meta)), console()
    columns = table("column", "type", "missing", "range", numbers=(2,))
    for name, column in found.columns.items():
        columns.add_row(name, column.kind, f"{column.missing:,}", column.range)
    shown.print(f"{meta}: {found.rows:,} rows, {len(found.columns)} columns")
    shown.print(columns)
    for name, bars in found.histograms.items():
        if bars.any():
            histogram = table(name, "rows", "", numbers=(1,))
            for line in lines(bars, EDGES[name]):
                histogram.add_row(*line)
            shown.print("")
            shown.print(histogram)
    if found.seconds:
        shown.print(f"\nvideo: {found.seconds / 3600:,.2f} hours")
    if found.bytes:
        shown.print(f"files: {found.bytes / 2**30:,.2f} GiB")
