"""`vidgen-run RECIPE [key.path=value ...]`."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from vidgen.cli.failing import shown
from vidgen.errors import UserError
from vidgen.launch import Launch, join_slurm, launch

FLAGS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "--outputs": ("outputs", "The run's folder.", {}),
    "--seed": ("seed", "Seed of every random number.", {"type": int}),
    "--dtype": ("dtype", "fp32, fp16 or bf16.", {}),
    "--num-frames": ("num_frames", "Video frames per clip.", {"type": int}),
    "--image-size": ("image_size", "Rows and columns in pixels.", {"type": int, "nargs": 2}),
    "--batch-size": ("batch_size", "Samples per step.", {"type": int}),
    "--max-steps": ("max_steps", "Steps to train in all.", {"type": int}),
    "--lr": ("optimizer.lr", "Learning rate.", {"type": float}),
    "--data-path": ("dataset.data_path", "Table of clips.", {}),
    "--ckpt-path": ("model.from_pretrained", "Weights to start from.", {}),
    "--checkpoint": ("checkpoint", "Run or checkpoint folder to sample from.", {}),
    "--resume": ("resume", "`latest`, or a checkpoint's folder.", {}),
    "--force": ("force", "Resume although the recipe's changes change the course.", {"is_flag": True, "default": None}),
    "--prompt": (
        "prompts",
        "What to sample, instead of the recipe's prompts and file of them; may be repeated.",
        {"multiple": True},
    ),
    "--prompt-path": ("prompt_path", "Text file of prompts, one a line.", {}),
    "--negative-prompt": ("negative_prompt", "What to steer away from.", {}),
    "--num-samples": ("num_samples", "Samples per prompt.", {"type": int}),
    "--num-sampling-steps": ("scheduler.num_sampling_steps", "Denoising steps.", {"type": int}),
    "--cfg-scale": ("scheduler.cfg_scale", "Guidance scale.", {"type": float}),
    "--fps": ("fps", "Frame rate of sampled clips.", {"type": float}),
}
"""Flag -> the recipe key it sets, help, click's settings."""


def _with_flags(function: Callable[..., None]) -> Callable[..., None]:
    for flag, (key, text, settings) in reversed(list(FLAGS.items())):
        function = click.option(flag, help=f"{text}  [{key}]", **settings)(function)
    return function


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY.PATH=VALUE]...")
@_with_flags
@click.option("--nproc", type=click.IntRange(1), help="Start so many processes on this machine, one a GPU.")
@click.option("--nnodes", type=click.IntRange(1), default=1, help="Machines; start the same command on each.")
@click.option("--rdzv-endpoint", help="HOST:PORT of one of several machines, where they find each other.")
@click.option("--max-restarts", type=click.IntRange(0), default=0, help="Start all again so often when one dies.")
@click.option("--dry-run", is_flag=True, help="Check everything, build on the meta device, start nothing.")
@click.option("--print-recipe", is_flag=True, help="Print the recipe with all defaults as YAML, and stop.")
@click.option("--traceback", is_flag=True, help="Show where in the program an error was raised.")
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    nproc: int | None,
    nnodes: int,
    rdzv_endpoint: str | None,
    max_restarts: int,
    dry_run: bool,
    print_recipe: bool,
    traceback: bool,
    **flags: Any,
) -> None:
    """Run RECIPE, a YAML file. KEY.PATH=VALUE changes any key of it; the flags below are short for common ones."""
    from vidgen.recipe import load_recipe

    changes = [*_overrides(flags), *overrides]
    loaded = load_recipe(recipe, changes)
    if print_recipe:
        click.echo(loaded.to_yaml(), nl=False)
    elif dry_run:
        from vidgen.cli.dry_run import print_plan

        print_plan(loaded, (nproc or 1) * nnodes)
    elif nproc is not None:
        if max_restarts and getattr(loaded.job.options, "resume", "latest") is None:
            raise UserError("--max-restarts: what is started again goes on where it stood: add resume=latest")
        wherever = [flag for flag in sys.argv if flag == "--traceback"]  # an error is raised in a rank
        launch([str(recipe), *changes, *wherever], Launch(nproc, nnodes, rdzv_endpoint, max_restarts))
    else:
        from vidgen.api import run

        os.environ.update(join_slurm(os.environ))
        run(loaded)


def main() -> None:
    """Entry point of `vidgen-run`."""
    shown(command, prog_name="vidgen-run")


def _overrides(flags: Mapping[str, Any]) -> list[str]:
    """Flags that were given, as `key.path=value`; JSON is YAML, so any text survives."""
    keys = {flag[2:].replace("-", "_"): key for flag, (key, _, _) in FLAGS.items()}
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    instead = ["prompt_path=null"] if "prompt" in given and "prompt_path" not in given else []
    return [*(f"{keys[name]}={json.dumps(value)}" for name, value in given.items()), *instead]
