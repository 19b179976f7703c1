"""A recipe's adapters: built and put on a model, kept by themselves in checkpoints, folded in for sampling."""

from collections.abc import Sequence
from typing import Any

import torch
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


def kept_alone(model: nn.Module, adapters: Sequence[Adapter]) -> dict[str, tuple[dict[str, str], dict[str, Any]]]:
    """Folder of a checkpoint -> names in the model and in the file, and plain data, of each adapter that has any."""
    found: dict[str, tuple[dict[str, str], dict[str, Any]]] = {}
    for adapter in adapters:
        names = adapter.own_names(model)
        if names:
            folder = f"{FOLDER}-{len(found) + 1}" if found else FOLDER
            found[folder] = (names, adapter.config())
    return found


def merge(model: nn.Module, adapters: Sequence[Adapter]) -> tuple[Adapter, ...]:
    """Fold in those that are to be, and give the others."""
    for adapter in reversed(adapters):
        if adapter.merges:
            adapter.merge(model)
    return tuple(adapter for adapter in adapters if not adapter.merges)
