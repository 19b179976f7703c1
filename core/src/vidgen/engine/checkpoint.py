"""Saving and restoring a run: whole or not at all.

A checkpoint is written into a folder of another name, flushed to disk, and renamed; a reader sees a whole one or none.
Nothing is pickled: tensors are safetensors, the rest is JSON.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import define
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from vidgen import runfolder, weights
from vidgen.component import Selection
from vidgen.engine.ema import Ema
from vidgen.errors import RunError, UserError


@define
class Saved:
    """What a checkpoint holds of a run: the objects that save and restore themselves."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema | None


def save(outputs: Path, saved: Saved, state: Mapping[str, Any], keep: int | None) -> Path:
    """Write `checkpoints/epoch{E}-global_step{S}` from `state["epoch"]` and `state["step"]`, then delete all but the
    newest `keep`. A checkpoint of that name is left as it is. Raises: RunError, with every earlier one intact."""
    folder = outputs / "checkpoints"
    final = folder / runfolder.checkpoint_name(state["epoch"], state["step"])
    if final.exists():
        return final
    partial = folder / f".saving-{final.name}"
    try:
        _write(partial, saved, state)
        partial.replace(final)
        _flush(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        intact = runfolder.latest(outputs)
        left = f"{intact} is intact" if intact else "there is no earlier one"
        raise RunError(f"the checkpoint {final} could not be written ({_reason(error)}); {left}.") from error
    _retire(outputs, keep)
    return final


def restore(checkpoint: Path, saved: Saved) -> dict[str, Any]:
    """Read a checkpoint into `saved` and return its state. Raises: UserError, when it is of another model; RunError,
    when it is damaged."""
    state = runfolder.read_state(checkpoint)
    weights.load_into(saved.model, checkpoint / "model" / "model.safetensors")
    if saved.ema is not None and (checkpoint / "ema").is_dir():
        saved.ema.load_state_dict(weights.read_state(checkpoint / "ema" / "model.safetensors"))
    _restore_optimizer(checkpoint / "optimizer", saved.optimizer)
    return state


def check_prediction(checkpoint: Path, state: Mapping[str, Any], scheduler: Selection, wanted: str) -> None:
    """Refuse a scheduler that takes the model's output for something else than what it learned to predict.

    state: of the checkpoint. wanted: the scheduler's prediction type. Raises: UserError.
    """
    learned = state["prediction_type"]
    if learned != wanted:
        raise UserError(
            f"scheduler: {scheduler.type} takes what the model returns for {wanted}, but {checkpoint} learned to "
            f"predict {learned}: choose a scheduler, or its prediction_type, that goes with {learned}."
        )


def starting_point(outputs: Path, resume: str | None) -> Path | None:
    """The checkpoint that a run goes on from; None where it starts anew. resume: as in the recipe.

    Raises: UserError, when the folder holds another run's work.
    """
    found = runfolder.latest(outputs)
    if resume == "latest":
        return found
    start = runfolder.find_checkpoint(Path(resume)) if resume is not None else None
    if found is not None and (start is None or runfolder.step_of(found) > runfolder.step_of(start)):
        raise UserError(
            f"outputs: {outputs} already holds a run, at {found.name}. resume=latest goes on with it; "
            "outputs=ANOTHER/FOLDER starts beside it."
        )
    return start


def clear_partial(outputs: Path) -> None:
    """Remove what a killed run left half-written or half-deleted."""
    for path in (outputs / "checkpoints").glob(".*-epoch*"):
        shutil.rmtree(path, ignore_errors=True)


def _write(folder: Path, saved: Saved, state: Mapping[str, Any]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _save_tensors(folder / "model" / "model.safetensors", saved.model.state_dict())
    if saved.ema is not None:
        _save_tensors(folder / "ema" / "model.safetensors", saved.ema.state_dict())
    tensors, rest = _split(saved.optimizer.state_dict())
    _save_tensors(folder / "optimizer" / "optimizer.safetensors", tensors)
    _save_json(folder / "optimizer" / "optimizer.json", rest)
    _save_json(folder / "state.json", state)
    for path in (*folder.rglob("*"), folder):
        _flush(path)


def _split(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as named tensors (`3.exp_avg`) and JSON."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                numbers.setdefault(str(index), {})[name] = value
    return tensors, {"state": numbers, "param_groups": state["param_groups"]}


def _restore_optimizer(folder: Path, optimizer: torch.optim.Optimizer) -> None:
    tensors = weights.read_state(folder / "optimizer.safetensors")
    try:
        rest = json.loads((folder / "optimizer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder}/optimizer.json is damaged ({error}). Use an earlier checkpoint.") from error
    state: dict[int, dict[str, Any]] = {int(index): dict(entries) for index, entries in rest["state"].items()}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    groups = [
        {**now, **then} for now, then in zip(optimizer.state_dict()["param_groups"], rest["param_groups"], strict=True)
    ]
    try:
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{folder} is the optimizer state of another model: {error}") from error


def _save_tensors(path: Path, state: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seen: set[int] = set()
    storable = {}
    for name, tensor in state.items():
        plain = tensor.detach().cpu().contiguous()
        storable[name] = plain.clone() if plain.data_ptr() in seen else plain  # tied weights are stored twice
        seen.add(plain.data_ptr())
    save_file(storable, path)


def _save_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _retire(outputs: Path, keep: int | None) -> None:
    if keep is None:
        return
    for path in runfolder.checkpoints(outputs)[:-keep]:
        gone = path.with_name(f".deleting-{path.name}")
        path.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
