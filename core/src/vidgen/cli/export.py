"""`vidgen export CHECKPOINT -o FILE`: a checkpoint's weights as one file, however many ranks wrote them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidgen.errors import RunError, UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vidgen.interfaces import Adapter

SUFFIX = ".safetensors"


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The file to write, .safetensors.")
@click.option("--ema/--raw", default=True, help="The averaged weights, if there are any, or those that were trained.")
def command(checkpoint: Path, output: Path, ema: bool) -> None:
    """Gather the weights of CHECKPOINT, a run's or checkpoint's folder, into one file.

    Adapters, such as lora, are folded in: any recipe with the model reads the file.
    """
    _check(output)
    from vidgen.weights import find_weights, read_state

    path = find_weights(checkpoint, ema=ema)
    state = _folded_in(checkpoint, ema) or read_state(path)
    _write(output, state)
    numbers = sum(value.numel() for value in state.values())
    click.echo(f"{output}: {len(state)} entries, {numbers:,} numbers, from {path}")


def _folded_in(checkpoint: Path, ema: bool) -> "Mapping[str, Tensor] | None":
    """Weights of a run with adapters, as its model has them without; None of a run without.

    Raises: UserError, when the run's components are not there.
    """
    from vidgen import runfolder

    if not runfolder.NAME.fullmatch(checkpoint.name) and runfolder.latest(checkpoint) is None:
        return None  # weights that no run wrote
    folder = runfolder.find_checkpoint(checkpoint)
    if not runfolder.read_state(folder)["recipe"].get("adapters"):
        return None
    model, adapters = _without_weights(folder)
    import torch

    from vidgen.weights import load_into

    load_into(model, folder, ema=ema, device=torch.device("cpu"))
    for adapter in reversed(adapters):
        if adapter.own_names(model):
            adapter.merge(model)
    return dict(model.state_dict())


def _without_weights(folder: Path) -> "tuple[nn.Module, Sequence[Adapter]]":
    """A checkpoint's model, on the meta device, and the adapters on it."""
    from vidgen.engine.parts import build_on_meta, shared_context
    from vidgen.interfaces import Context
    from vidgen.recipe.load import load_recipe

    said = {"job": "sample", "checkpoint": str(folder), "prompts": [""], "parallel": {"type": "single"}}
    recipe = load_recipe(said)
    options: Any = recipe.job.options
    context = Context(registry=recipe.registry, recipe=recipe.plain())
    parts = build_on_meta(options, shared_context(options, context))
    return parts.model, parts.adapters


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
