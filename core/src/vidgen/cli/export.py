"""`vidgen export CHECKPOINT -o FILE`: a checkpoint's weights as one file, however many ranks wrote them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vidgen.errors import RunError, UserError

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The file to write, .safetensors.")
@click.option("--ema/--raw", default=True, help="The averaged weights, if there are any, or those that were trained.")
def command(checkpoint: Path, output: Path, ema: bool) -> None:
    """Gather the weights of CHECKPOINT, a run's or checkpoint's folder, into one file."""
    _check(output)
    from vidgen.weights import find_weights, read_state

    path = find_weights(checkpoint, ema=ema)
    state = read_state(path)
    _write(output, state)
    numbers = sum(value.numel() for value in state.values())
    click.echo(f"{output}: {len(state)} entries, {numbers:,} numbers, from {path}")


def _check(output: Path) -> None:
    if output.suffix != SUFFIX:
        raise UserError(f"--output: {output} would be a {SUFFIX} file: give it that ending")
    if output.exists():
        raise UserError(f"--output: {output} is there already, and nothing is overwritten: choose another name")
    if not output.absolute().parent.is_dir():
        raise UserError(f"--output: there is no folder {output.parent}: make it first, or choose another name")


def _write(output: Path, state: "Mapping[str, Tensor]") -> None:
    """Whole or not at all. Raises: RunError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    partial = output.with_name(f".{output.name}.part")
    try:
        save_file({name: value.contiguous() for name, value in state.items()}, partial, metadata={"format": "pt"})
        partial.replace(output)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise RunError(f"{output} cannot be written ({error}): nothing is left of it") from error
