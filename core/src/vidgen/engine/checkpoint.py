"""Saving and restoring a run: whole or not at all.

A checkpoint is written into a folder of another name, flushed to disk, and renamed; a reader sees a whole one or none.
Nothing is pickled: tensors are safetensors, the rest is JSON. Of several ranks each writes and reads its own part of
what is shared out; any number of ranks can go on from it. Adapters by themselves are small: the main rank writes them
whole, as others read them.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
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
from vidgen.runfolder import flush

FILES = {"model": "model.safetensors", "ema": "model.safetensors", "optimizer": "optimizer.safetensors"}
"""What one process writes into each folder of what ranks share out."""


@define
class Saved:
    """What a checkpoint holds of a run: the objects that save and restore themselves. adapters: of the model, which are
    also kept by themselves, averaged where weights are."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema | None
    adapters: Sequence[Adapter] = ()


@frozen(kw_only=True)
class Snapshot:
    """What a checkpoint will hold. shared: tensors by folder and name, which every rank writes its part of. whole:
    likewise, those that the main rank writes alone. plain: what is no tensor, by file. state: the run's."""

    shared: Mapping[str, Mapping[str, Tensor]]
    whole: Mapping[str, Mapping[str, Tensor]]
    plain: Mapping[str, Any]
    state: Mapping[str, Any]


def save(outputs: Path, saved: Saved, state: Mapping[str, Any], keep: int | None) -> Path:
    """Write `checkpoints/epoch{E}-global_step{S}` from `state["epoch"]` and `state["step"]`, then delete all but the
    newest `keep`. A checkpoint of that name is left as it is. Raises: RunError, with every earlier one intact."""
    return write(outputs, snapshot(saved, state), keep, World(), None)


def snapshot(saved: Saved, state: Mapping[str, Any]) -> Snapshot:
    """What `write` takes: the run's own tensors, not copies, but for adapters' that are shared out: all ranks call
    this, and gather them."""
    model = saved.model.state_dict()
    averaged = {} if saved.ema is None else {"ema": saved.ema.state_dict()}
    best, alone = averaged.get("ema", model), adapting.kept_alone(saved.model, saved.adapters)
    return Snapshot(
        shared={"model": model, **averaged, "optimizer": optimizer_state.tensors(saved.model, saved.optimizer)},
        whole={folder: {kept: _whole(best[name]) for name, kept in one.names.items()} for folder, one in alone.items()},
        plain={
            f"optimizer/{optimizer_state.NUMBERS}": optimizer_state.numbers(saved.model, saved.optimizer),
            **{f"{folder}/{adapting.CONFIG}": one.adapter.config() for folder, one in alone.items()},
        },
        state=state,
    )


def write(outputs: Path, taken: Snapshot, keep: int | None, world: World, group: Any) -> Path:
    """As `save`, by all ranks together. group: the process group they talk through; None where there is one process."""
    folder = outputs / "checkpoints"
    final = folder / runfolder.checkpoint_name(taken.state["epoch"], taken.state["step"])
    partial = folder / f".saving-{final.name}"
    try:
        if not _by_main(lambda: _begin(partial, final), world, group):
            return final
        for name, tensors in taken.shared.items():
            _save_shared(partial / name, tensors, group)
        _by_main(lambda: _finish(partial, final, taken), world, group)
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
    """Read a checkpoint into `saved` and return its state. Raises: UserError, when it is of another model or of other
    adapters; RunError, when it is damaged."""
    state = runfolder.read_state(checkpoint)
    adapting.check_same(checkpoint, saved.model, saved.adapters)
    name = type(saved.model).__name__
    weights.load_shared(checkpoint / "model", saved.model.state_dict(), name)
    if saved.ema is not None and (checkpoint / "ema").is_dir():
        own, averaged = saved.ema.state_dict(), saved.ema.names
        weights.load_shared(checkpoint / "ema", own, f"the average of {name}", only=averaged)
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


def _by_main(work: Callable[[], bool | None], world: World, group: Any) -> bool | None:
    """What the main rank's work returns; the others wait for it. Raises: OSError, on every rank, when it failed."""
    told: list[Any] = [None, ""]
    if world.is_main:
        try:
            told[0] = work()
        except (OSError, SafetensorError) as error:
            if group is None:
                raise
            told[1] = f"rank {world.rank}: {_reason(error)}"
    if group is not None:
        dist.broadcast_object_list(told, src=0, group=group)
    if told[1]:
        raise OSError(told[1])
    answer: bool | None = told[0]
    return answer


def _begin(partial: Path, final: Path) -> bool:
    """Make the folder anew. Returns whether there is something to do."""
    if final.exists():
        return False
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return True


def _finish(partial: Path, final: Path, taken: Snapshot) -> None:
    """What one rank writes alone; then all to disk, and the name under which it counts."""
    for folder, tensors in taken.whole.items():
        _save_whole(partial / folder / adapting.FILE, tensors)
    for file, data in taken.plain.items():
        _save_json(partial / file, data)
    _save_json(partial / "state.json", taken.state)
    for path in (*partial.rglob("*"), partial):
        flush(path)
    partial.replace(final)
    flush(final.parent)


def _whole(value: Any) -> Tensor:
    """A tensor of which every rank has a part, or all."""
    whole: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return whole


def _save_shared(folder: Path, state: Mapping[str, Tensor], group: Any) -> None:
    """By all ranks of the group, each its part; one process writes a file as everybody knows it."""
    if group is not None:
        from vidgen.weights import shards

        shards.save(folder, state, group)
    else:
        _save_whole(folder / FILES[folder.name], state)


def _save_whole(path: Path, state: Mapping[str, Tensor]) -> None:
    """As one file, with the note on its kind that others look for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seen: set[int] = set()
    storable = {}
    for name, tensor in state.items():
        plain = tensor.detach().cpu().contiguous()
        storable[name] = plain.clone() if plain.data_ptr() in seen else plain  # tied weights are stored twice
        seen.add(plain.data_ptr())
    save_file(storable, path, metadata={"format": "pt"})


def _save_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")


def _retire(outputs: Path, keep: int | None) -> None:
    if keep is None:
        return
    for path in runfolder.checkpoints(outputs)[:-keep]:
        gone = path.with_name(f".deleting-{path.name}")
        path.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
