"""`vidgen data scan FOLDER -o meta.parquet`: a table of the media in a folder."""

from pathlib import Path

import click

from vidgen_data.options import FILE, FORCE, OUTPUT, TIMEOUT, WORKERS


@click.command()
@click.argument("folder", type=FILE)
@OUTPUT
@click.option("--captions", type=FILE, help="Table with columns path (below FOLDER) and text.")
@WORKERS
@TIMEOUT
@click.option("--keep", is_flag=True, help="Keep OUTPUT.scan, so that a later scan reads only what is new or changed.")
@FORCE
def command(
    folder: Path, output: Path, captions: Path | None, workers: int | None, timeout: float, keep: bool, force: bool
) -> None:
    """Write a table of all videos and images in FOLDER and below, from their headers.

    Captions come from --captions, else from a .txt or .json file of the same stem. What cannot be read is listed in
    OUTPUT's name with .rejected.csv. When interrupted, the same command goes on.
    """
    from vidgen_data.scanning import Scan, scan
    from vidgen_data.terminal import console

    job = Scan(
        folder=folder, output=output, captions=captions, workers=workers, timeout=timeout, force=force, keep=keep
    )
    try:
        found = scan(job)
    except KeyboardInterrupt:
        click.echo(f"what was found so far is in {job.side_file}; the same command goes on", err=True)
        raise
    shown = console()
    known = f", {found.before:,} of them known from before" if found.before else ""
    shown.print(f"{folder}: {found.files:,} videos and images{known}")
    shown.print(f"{output}: {found.rows:,} rows, {found.captioned:,} with a caption")
    if found.matched is not None:
        shown.print(f"{captions}: names {found.matched:,} of the files{_hint(found.matched, folder)}")
    if found.problems:
        shown.print(f"{job.rejected}: {len(found.problems):,} problems, such as {': '.join(found.problems[0])}")
    if job.root is not None:
        shown.print(f"paths start from {job.root}: write root: {job.root.absolute()} beside data_path in the recipe")


def _hint(matched: int, folder: Path) -> str:
    return "" if matched else f"; its paths must start from {folder}"
