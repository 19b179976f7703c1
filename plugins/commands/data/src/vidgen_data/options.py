"""Arguments and options that several commands have."""

from pathlib import Path

import click

FILE = click.Path(path_type=Path)

META = click.argument("meta", type=FILE)
OUTPUT = click.option("-o", "--output", required=True, type=FILE, help="Table to write: .parquet, .csv or .jsonl.")
PREFIX = click.option("-o", "--prefix", required=True, help="Beginning of the names of the tables to write.")
FORCE = click.option("--force", is_flag=True, help="Replace what is there.")
WORKERS = click.option(
    "--workers", type=click.IntRange(min=1), help="Processes that read headers; one for each core when silent."
)
TIMEOUT = click.option(
    "--timeout",
    default=20.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds after which a file is given up.",
)
RECIPE = click.argument("recipe", type=FILE)
GIVEN = click.argument("given", nargs=-1, metavar="[META] [KEY.PATH=VALUE]...")
