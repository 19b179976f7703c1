"""`vidgen bench`: what to measure and how often. Imports torch only when it starts work."""

from collections.abc import Callable
from pathlib import Path

import click


@click.group()
def bench() -> None:
    """Measure vidgen's parts against their alternatives."""


def _measured(command: Callable[..., None]) -> Callable[..., None]:
    """Options of every command that compares."""
    options = (
        click.option("--only", default="", help="Run the comparisons whose names hold this text."),
        click.option(
            "--repeats", default=5, type=click.IntRange(min=1), help="Timings of each alternative; the median counts."
        ),
        click.option(
            "--threads", default=None, type=click.IntRange(min=1), help="Threads of torch; all cores when silent."
        ),
        click.option(
            "--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Also write figures here."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@bench.command()
@_measured
def models(only: str, repeats: int, threads: int | None, json_path: Path | None) -> None:
    """The transformers against diffusers' and against a plain reading; loading; memory."""
    from vidgen_bench import models as measured
    from vidgen_bench.report import report

    report(measured.comparisons(), only=only, repeats=repeats, threads=threads, json_path=json_path)


@bench.command()
@_measured
def schedulers(only: str, repeats: int, threads: int | None, json_path: Path | None) -> None:
    """The samplers' own time per step, operations and waiting, against plain readings and diffusers'."""
    from vidgen_bench import schedulers as measured
    from vidgen_bench.report import report

    report(measured.comparisons(), only=only, repeats=repeats, threads=threads, json_path=json_path)


@bench.command()
@_measured
def encoders(only: str, repeats: int, threads: int | None, json_path: Path | None) -> None:
    """The image autoencoder against diffusers', half precision, captions sorted by length."""
    from vidgen_bench import encoders as measured
    from vidgen_bench.report import report

    report(measured.comparisons(), only=only, repeats=repeats, threads=threads, json_path=json_path)


@bench.command()
@click.option(
    "--clips",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of videos to read in place of the short generated ones.",
)
@_measured
def data(only: str, repeats: int, threads: int | None, json_path: Path | None, clips: Path | None) -> None:
    """Reading videos with every reader that is installed, against decoding the whole file; keeping a training fed;
    plans of an epoch; training on packed clips; memory."""
    from itertools import chain

    from vidgen_bench import data_feeding, data_packing, data_plans, data_reading
    from vidgen_bench.report import report

    reading = chain(data_reading.comparisons(clips), data_feeding.comparisons(clips))
    measured = chain(reading, data_plans.comparisons(), data_packing.comparisons())
    report(measured, only=only, repeats=repeats, threads=threads, json_path=json_path)


@bench.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Also draw the figure here, a PNG."
)
def convergence(output: Path | None) -> None:
    """How fast the samplers' errors fall with their steps, on data with a known result."""
    from vidgen_bench.convergence import samplers
    from vidgen_bench.convergence_report import report

    report(samplers(), figure=output)


@bench.command()
@click.argument("recipes", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--steps",
    default=(5, 10, 20, 50, 100),
    multiple=True,
    type=click.IntRange(min=1),
    help="Sampling steps to try; may be given again.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Also write the table as Markdown."
)
def fidelity(recipes: tuple[Path, ...], steps: tuple[int, ...], output: Path | None) -> None:
    """Train and sample each recipe, with ever more steps, and judge the clips by its metrics."""
    from rich.console import Console

    from vidgen_bench.fidelity import courses, markdown, show, table

    console = Console()
    rows = table(courses(recipes, steps, console), steps)
    show(rows, console)
    if output is not None:
        output.write_text(markdown(rows), encoding="utf-8")


@bench.command()
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True),
    help="A run's or checkpoint's folder: measure step caches on it, in place of sampling at mid size.",
)
@click.option(
    "--prompt", "prompts", multiple=True, help="May be given again; the run's own sample prompts when silent."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Also draw the figure here, a PNG."
)
@_measured
def sample(
    only: str,
    repeats: int,
    threads: int | None,
    json_path: Path | None,
    checkpoint: Path | None,
    prompts: tuple[str, ...],
    output: Path | None,
) -> None:
    """Sampling: captions worked out once, compiled blocks, memory of long videos. With a checkpoint, step caches on
    it: seconds per sample, and PSNR against the exact clips."""
    if checkpoint is None:
        from vidgen_bench import clip_sampling
        from vidgen_bench.report import report as compared

        compared(clip_sampling.comparisons(), only=only, repeats=repeats, threads=threads, json_path=json_path)
        return
    import torch

    from vidgen_bench.step_caches import own_prompts
    from vidgen_bench.step_caches_report import report

    if threads is not None:
        torch.set_num_threads(threads)
    report(
        checkpoint, prompts or own_prompts(checkpoint), only=only, repeats=repeats, json_path=json_path, drawing=output
    )


@bench.command()
@click.option("--model", "name", default="STDiT3-XL/2", show_default=True, help="Model of the STDiT family.")
@click.option("--frames", default=15, show_default=True, type=click.IntRange(min=1), help="Tokens of a clip in time.")
@click.option("--places", default=1590, show_default=True, type=click.IntRange(min=1), help="Tokens of a frame.")
@click.option("--clips", default=1, show_default=True, type=click.IntRange(min=1), help="Clips of a rank's batch.")
@click.option("--batches", default=1, show_default=True, type=click.IntRange(min=1), help="Accumulated in a step.")
@click.option("--recomputed/--kept", default=True, show_default=True, help="Blocks worked out again, or all kept.")
@click.option(
    "--gpus",
    "sizes",
    default=(8, 16, 32, 64, 128, 256, 512, 1024),
    multiple=True,
    type=click.IntRange(min=2),
    help="GPUs to work it out for; may be given again.",
)
@click.option("--sp-size", default=2, show_default=True, type=click.IntRange(min=2), help="Ranks to a sample.")
@click.option("--within", default=300.0, show_default=True, help="GB/s a GPU sends to others of its machine.")
@click.option("--between", default=40.0, show_default=True, help="GB/s a GPU sends to other machines.")
@click.option("--speed", default=400.0, show_default=True, help="TFLOP/s of a GPU in training.")
def parallel(
    name: str,
    frames: int,
    places: int,
    clips: int,
    batches: int,
    recomputed: bool,
    sizes: tuple[int, ...],
    sp_size: int,
    within: float,
    between: float,
    speed: float,
) -> None:
    """What GPUs send each other in a training step, and what that costs: by formula, of assumed machines."""
    from vidgen_bench import parallel as worked_out

    job = worked_out.job_of(name, frames=frames, places=places, clips=clips, batches=batches, recomputed=recomputed)
    cluster = worked_out.Cluster(within=within * 1e9, between=between * 1e9, speed=speed * 1e12)
    worked_out.report(job, cluster, sizes, sp_size)
