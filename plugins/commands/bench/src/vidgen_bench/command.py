"""`vidgen bench`: what to measure and how often. Imports torch only when it starts work."""

from pathlib import Path

import click


@click.group()
def bench() -> None:
    """Measure vidgen's parts against their alternatives."""


@bench.command()
@click.option("--only", default="", help="Run the comparisons whose names hold this text.")
@click.option(
    "--repeats", default=5, type=click.IntRange(min=1), help="Timings of each alternative; the median counts."
)
@click.option("--threads", default=None, type=click.IntRange(min=1), help="Threads of torch; all cores when silent.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Also write figures here.")
def models(only: str, repeats: int, threads: int | None, json_path: Path | None) -> None:
    """The transformers against diffusers' and against a plain reading; loading; memory."""
    from vidgen_bench import models as measured
    from vidgen_bench.report import report

    report(measured.comparisons(), only=only, repeats=repeats, threads=threads, json_path=json_path)
