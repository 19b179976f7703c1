"""Saving and restoring a run: whole or not at all.

A checkpoint is written into a folder of another name, flushed to disk, and renamed; a reader sees a whole one or none.
Nothing is pickled: tensors are safetensors, the rest is JSON. Of several ranks each writes and reads its own part of
what is shared out; any number of ranks can go on from it.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from attrs import define, frozen
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from vidgen import runfolder, weights
from vidgen.component import Selection
from vidgen.engine import adapting, optimizer_state
from vidgen.engine.ema import Ema
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Adapter
from vidgen.mesh import World

FILES = {"model": "model.safetensors", "ema": "model.safetensors", "optimizer": "optimizer.safetensors"}
"""What one process writes into each folder, but those of adapters."""


@define
class Saved:
    """What a checkpoint holds of a run: the objects that save and restore themselves. adapters: of the model, which are
    also kept by themselves, averaged where weights are."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema | None
    adapters: Sequence[Adapter] = ()

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """By the folder they go to."""
        model = self.model.state_dict()
        averaged = {} if self.ema is None else {"ema": self.ema.state_dict()}
        best, alone = averaged.get("ema", model), adapting.kept_alone(self.model, self.adapters)
        return {
            "model": model,
            **averaged,
            **{folder: {kept: best[name] for name, kept in names.items()} for folder, (names, _) in alone.items()},
            "optimizer": optimizer_state.tensors(self.model, self.optimizer),
        }

    def plain(self) -> dict[str, Any]:
        """What is no tensor, by the file it goes to."""
        alone = adapting.kept_alone(self.model, self.adapters)
        return {
            f"optimizer/{optimizer_state.NUMBERS}": optimizer_state.numbers(self.model, self.optimizer),
            **{f"{folder}/{adapting.CONFIG}": config for folder, (_, config) in alone.items()},
        }


@frozen
class Snapshot:
    """What a checkpoint will hold: tensors by folder and name, plain data by file, the run's state."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    plain: Mapping[str, Any]
    state: Mapping[str, Any]


def save(outputs: Path, saved: Saved, state: Mapping[str, Any], keep: int | None) -> Path:
    """Write `checkpoints/epoch{E}-global_step{S}` from `state["epoch"]` and `state["step"]`, then delete all but the
    newest `keep`. A checkpoint of that name is left as it is. Raises: RunError, with every earlier one intact."""
    return write(outputs, snapshot(saved, state), keep, World(), None)


def snapshot(saved: Saved, state: Mapping[str, Any]) -> Snapshot:
    """What `write` takes: the run's own tensors, not copies."""
    return Snapshot(saved.tensors(), saved.plain(), state)


def write(outputs: Path, taken: Snapshot, keep: int | None, world: World, group: Any) -> Path:
    """As `save`, by all ranks together. group: the process group they talk through; None where there is one process."""
    folder = outputs / "checkpoints"
    final = folder / runfolder.checkpoint_name(taken.state["epoch"], taken.state["step"])
    partial = folder / f".saving-{final.name}"
    try:
        if not _begin(partial, final, world, group):
            return final
        for name, tensors in taken.tensors.items():
            _save_tensors(partial / name, tensors, group)
        if world.is_main:
            _finish(partial, final, taken)
    except (OSError, SafetensorError) as error:
        if world.is_main:
            shutil.rmtree(partial, ignore_errors=True)
        intact = runfolder.latest(outputs)
        left = f"{intact} is intact" if intact else "there is no earlier one"
        raise RunError(f"the checkpoint {final} could not be written ({_reason(error)}); {left}.") from error
    if world.is_main:
        _retire(outputs, keep)
    return final


def restore(checkpoint: Path, saved: Saved) -> dict[str, Any]:
    """Read a checkpoint into `saved` and return its state. Raises: UserError, when it is of another model; RunError,
    when it is damaged."""
    state = runfolder.read_state(checkpoint)
    name = type(saved.model).__name__
    weights.load_shared(checkpoint / "model", saved.model.state_dict(), name)
    if saved.ema is not None and (checkpoint / "ema").is_dir():
        weights.load_shared(checkpoint / "ema", saved.ema.state_dict(), f"the average of {name}")
    optimizer_state.restore(checkpoint / "optimizer", saved.model, saved.optimizer)
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


def _begin(partial: Path, final: Path, world: World, group: Any) -> bool:
    """Make the folder anew, for all ranks. Returns whether there is something to do."""
    wanted = not final.exists()
    if world.is_main and wanted:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    if group is not None:
        told = torch.tensor(wanted)
        dist.broadcast(told, src=0, group=group)
        wanted = bool(told.item())
    return wanted


def _finish(partial: Path, final: Path, taken: Snapshot) -> None:
    """What is no tensor; then all to disk, and the name under which it counts."""
    for file, data in taken.plain.items():
        _save_json(partial / file, data)
    _save_json(partial / "state.json", taken.state)
    for path in (*partial.rglob("*"), partial):
        _flush(path)
    partial.replace(final)
    _flush(final.parent)


def _save_tensors(folder: Path, state: Mapping[str, Tensor], group: Any) -> None:
    """By all ranks of the group, each its part; one process writes a file as everybody knows it."""
    if group is not None:
        from vidgen.weights import shards

        shards.save(folder, state, group)
        return
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[int] = set()
    storable = {}
    for name, tensor in state.items():
        plain = tensor.detach().cpu().contiguous()
        storable[name] = plain.clone() if plain.data_ptr() in seen else plain  # tied weights are stored twice
        seen.add(plain.data_ptr())
    save_file(storable, folder / FILES.get(folder.name, adapting.FILE))


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
