"""`vidgen data validate META`: a table against its files."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vidgen_data.options import FILE, META, TIMEOUT, WORKERS

if TYPE_CHECKING:
    from vidgen_data.validation import Verdict


@click.command()
@META
@click.option("--root", type=FILE, help="Folder that paths start from; META's own when silent.")
@click.option("--num-frames", type=click.IntRange(min=1), help="Report files with fewer frames.")
@click.option("--decode", default=0, type=click.IntRange(min=0), help="Also decode so many frames of each file.")
@click.option("--no-captions", is_flag=True, help="Rows need none: the table is for an autoencoder.")
@click.option("--show", default=50, show_default=True, type=click.IntRange(min=0), help="Faults to print.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead.")
@WORKERS
@TIMEOUT
def command(
    meta: Path,
    root: Path | None,
    num_frames: int | None,
    decode: int,
    no_captions: bool,
    show: int,
    as_json: bool,
    workers: int | None,
    timeout: float,
) -> None:
    """Report rows of META without a caption, or whose file is missing, unreadable, too short, or other than the row
    says.

    Rows are counted from 0. Exit status: 0 all is well, 1 something is wrong.
    """
    import json

    from vidgen_data.source import open_source
    from vidgen_data.validation import Wanted, validate

    wanted = Wanted(
        root=(root or meta.parent).absolute(),
        num_frames=num_frames,
        decode=decode,
        captions=not no_captions,
        workers=workers,
        timeout=timeout,
    )
    verdict = validate(open_source(meta), wanted)
    if as_json:
        click.echo(json.dumps(verdict.plain(), indent=1))
    else:
        _print(verdict, show)
    if verdict.faults or verdict.lacking:
        sys.exit(1)


def _print(verdict: "Verdict", show: int) -> None:
    from vidgen_data.terminal import console, table

    shown, listed = console(), table("row", "kind", "path", "reason", numbers=(0,))
    for fault in verdict.faults[:show]:
        listed.add_row(str(fault.row), fault.kind, fault.path, fault.reason)
    if verdict.faults:
        shown.print(listed)
    if len(verdict.faults) > show:
        shown.print(f"and {len(verdict.faults) - show:,} more; --show or --json gives them all")
    counts = {**{f"without {name}": verdict.rows for name in verdict.lacking}, **dict(verdict.counts().most_common())}
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    shown.print(f"{verdict.rows:,} rows: {kinds or 'all is well'}")
    for line in _captions_hint(verdict):
        shown.print(line)
    if verdict.repeated:
        shown.print(f"{verdict.repeated:,} rows have a path that a row before has")


def _captions_hint(verdict: "Verdict") -> Iterator[str]:
    if "text" in verdict.lacking:
        yield "there is no column text, and training with a text encoder refuses the table: write captions into one"
    elif verdict.counts()["no caption"]:
        yield "rows without a caption are trained on without words: write it into the column text, or leave them out"
        yield """    vidgen data filter META -o OUT --where 'text ~ "[^ ]"'"""
    else:
        return
    yield "    vidgen data scan takes them from .txt and .json files beside the media, or from --captions TABLE"
    yield "    --no-captions asks for none: an autoencoder's training needs none"
