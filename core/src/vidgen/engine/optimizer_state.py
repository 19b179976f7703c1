"""An optimizer's state by the names of the model's parameters: it outlives another order or sharing out of them.

Tensors (`blocks.0.weight.exp_avg`) go to safetensors, single numbers of each parameter (`step`) to JSON. Learning rates
and the like are no state: the recipe gives them.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vidgen import weights
from vidgen.errors import RunError, UserError

NUMBERS = "optimizer.json"


def tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """The tensors themselves, not copies."""
    return {f"{name}.{key}": value for name, key, value in _entries(model, optimizer) if value.ndim}


def numbers(model: nn.Module, optimizer: Optimizer) -> dict[str, dict[str, float]]:
    """Of each parameter; waits for the device once."""
    single = [(name, key, value) for name, key, value in _entries(model, optimizer) if not value.ndim]
    values = torch.stack([value.float() for _, _, value in single]).tolist() if single else []
    found: dict[str, dict[str, float]] = {}
    for (name, key, _), value in zip(single, values, strict=True):
        found.setdefault(name, {})[key] = value
    return found


def restore(folder: Path, model: nn.Module, optimizer: Optimizer) -> None:
    """Read what a checkpoint's folder holds. Raises: UserError, when it is of another model; RunError, when it is
    damaged."""
    state: dict[str, dict[str, Any]] = {name: dict(one) for name, one in _read_numbers(folder / NUMBERS).items()}
    own = dict(model.named_parameters())
    room = _room(folder, own)
    weights.load_shared(folder, {f"{name}.{key}": value for (name, key), value in room.items()}, "the optimizer")
    for (name, key), value in room.items():
        state.setdefault(name, {})[key] = value
    order = _order(model, optimizer)
    strange = sorted(set(state) - set(order))
    if strange:
        raise UserError(f"{folder} holds the optimizer's state of parameters that are not trained: {strange[0]} ...")
    entries = {number: _as_tensors(state[name]) for number, name in enumerate(order) if name in state}
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})


def _entries(model: nn.Module, optimizer: Optimizer) -> Iterator[tuple[str, str, Tensor]]:
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            yield name, key, torch.as_tensor(value)


def _order(model: nn.Module, optimizer: Optimizer) -> list[str]:
    """Names in the order in which torch counts an optimizer's parameters."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]


def _room(folder: Path, own: Mapping[str, nn.Parameter]) -> dict[tuple[str, str], Tensor]:
    """Tensors to read into: shared out as their parameter is, where they have its shape. Raises: UserError."""
    room: dict[tuple[str, str], Tensor] = {}
    for entry, size in weights.sizes(folder).items():
        name, _, key = entry.rpartition(".")
        if name not in own:
            raise UserError(f"{folder} holds the optimizer's state of another model: it has {name}")
        like = own[name].detach()
        room[name, key] = torch.zeros_like(like) if size == like.shape else torch.zeros(size, device=like.device)
    return room


def _as_tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {key: torch.as_tensor(value) for key, value in state.items()}


def _read_numbers(path: Path) -> dict[str, dict[str, float]]:
    try:
        found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}). Use an earlier checkpoint.") from error
    return found
