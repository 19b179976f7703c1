"""A recipe's adapters: built and put on a model, kept by themselves in checkpoints, folded in for sampling."""

import json
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import nn

from vidgen.component import Selection
from vidgen.errors import UserError
from vidgen.interfaces import Adapter, Context
from vidgen.rng import address

FOLDER = "adapter"
"""Of a checkpoint, where its first adapter is kept by itself; the second is in `adapter-2`, and so on."""
FILE, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def adapt(
    model: nn.Module, selections: Sequence[Selection], context: Context, *, first: int = 0
) -> tuple[Adapter, ...]:
    """Put adapters on a model, in order. first: how many were put on before. Start values depend on the seed and the
    place in the recipe alone. Raises: UserError."""
    made = []
    for place, selection in enumerate(selections, start=first):
        adapter: Adapter = context.components.build(selection, context)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(address(context.seed, "adapter", place))
            adapter.apply(model)
        made.append(adapter)
    return tuple(made)


def check_filled(model: nn.Module, adapters: Sequence[Adapter]) -> None:
    """Adapters that are no checkpoint's and are put on to sample. Raises: UserError, when one has nothing to add."""
    for adapter in adapters:
        if adapter.own_names(model) and not adapter.pretrained:
            raise UserError(
                "adapters: the weights come from a training without this adapter, so it would add nothing. Say where "
                "it was trained (from_pretrained), or leave it out."
            )


def names_of(model: nn.Module, adapters: Sequence[Adapter]) -> set[str]:
    """All adapters' own entries in the model's state dict."""
    return {name for adapter in adapters for name in adapter.own_names(model)}


@frozen(kw_only=True)
class Kept:
    """An adapter that a checkpoint keeps by itself. place: in the recipe's list. names: of its entries in the model ->
    in the file."""

    place: int
    adapter: Adapter
    names: Mapping[str, str]


def kept_alone(model: nn.Module, adapters: Sequence[Adapter]) -> dict[str, Kept]:
    """Folder of a checkpoint -> the adapter that is kept there, of each that has entries of its own."""
    found: dict[str, Kept] = {}
    for place, adapter in enumerate(adapters):
        names = adapter.own_names(model)
        if names:
            found[_folder(len(found))] = Kept(place=place, adapter=adapter, names=names)
    return found


def check_same(checkpoint: Path, model: nn.Module, adapters: Sequence[Adapter]) -> None:
    """Compare adapters on a model with those that a checkpoint keeps by themselves, as far as they tell. Raises:
    UserError, when there are more or fewer, or the weights of one do not fit."""
    alone = kept_alone(model, adapters)
    held = next(number for number in count() if not (checkpoint / _folder(number)).is_dir())
    if held != len(alone):
        raise _other_adapters("", f"{len(alone)} with weights of their own", str(held), checkpoint)
    for folder, one in alone.items():
        misfit = getattr(one.adapter, "misfit", None)
        found = None if misfit is None else misfit(_read(checkpoint / folder))
        if found is not None:
            option, here, there = found
            raise _other_adapters(f"[{one.place}].{option}", here, there, checkpoint / folder)


def _other_adapters(key: str, here: str, there: str, path: Path) -> UserError:
    return UserError(
        f"adapters{key}: the recipe has {here}, but {path} has {there}, so weights do not fit. Give the recipe what is "
        "there; to sample, adapters can be left out, and those of the checkpoint are taken. A training with other ones "
        "begins anew, with outputs=ANOTHER/FOLDER."
    )


def _folder(number: int) -> str:
    return f"{FOLDER}-{number + 1}" if number else FOLDER


def _read(folder: Path) -> Mapping[str, Any]:
    """What `config` gave; nothing where that cannot be read: names and sizes of the weights are compared in any
    case."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def merge(model: nn.Module, adapters: Sequence[Adapter]) -> tuple[Adapter, ...]:
    """Fold in those that are to be, and give the others."""
    for adapter in reversed(adapters):
        if adapter.merges:
            adapter.merge(model)
    return tuple(adapter for adapter in adapters if not adapter.merges)
