"""The weights of a case: not stored, but drawn from the entries' names, so that anyone can draw them again."""

import zlib
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Entry = Sequence[Any]  # name, shape, dtype


def value(name: str, shape: Sequence[int]) -> Tensor:
    """The float32 value of the entry `name`: normal numbers seeded by the name's CRC-32, scaled by its kind."""
    g = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape))
    if len(shape) >= 2:
        g = g / np.sqrt(prod(shape[1:]))
    elif len(shape) == 1 and name.endswith("weight"):
        g = 1 + 0.02 * g
    else:
        g = 0.02 * g
    return torch.from_numpy(np.asarray(g, dtype=np.float32))


def values(entries: Iterable[Entry], kept: Iterable[str] = ()) -> dict[str, Tensor]:
    """A state dict of all floating-point entries of a listing (name, shape, dtype) but the `kept` ones."""
    left_out = set(kept)
    return {
        name: value(name, shape)
        for name, shape, dtype in entries
        if name not in left_out and dtype.removeprefix("torch.").startswith(("float", "bfloat"))
    }


def listing(module: nn.Module) -> list[list[Any]]:
    """A module's own entries as the cases list them: [name, shape, dtype]."""
    return [
        [name, list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
        for name, tensor in module.state_dict().items()
    ]


def check_listing(module: nn.Module, expected: Iterable[Entry]) -> None:
    """The module's entries are those of the listing, in any order. Raises: AssertionError, naming the first others."""
    own, wanted = sorted(listing(module)), sorted(map(list, expected))
    lacking = [entry for entry in wanted if entry not in own][:5]
    others = [entry for entry in own if entry not in wanted][:5]
    assert own == wanted, f"entries lacking: {lacking}; entries not expected: {others}"


def fill(module: nn.Module, expected: Sequence[Entry], kept: Sequence[str] = ()) -> None:
    """Check the module's entries against the case's listing, then fill all but the `kept` ones by the rule."""
    check_listing(module, expected)
    unknown = set(kept) - {name for name, *_ in expected}
    assert not unknown, f"kept, but not in the state dict: {sorted(unknown)}"
    drawn = values(expected, kept)
    missing, unexpected = module.load_state_dict(drawn, strict=False)
    assert not unexpected
    whole_numbers = {name for name, _, dtype in expected if "int" in dtype or dtype == "bool"}
    assert set(missing) <= set(kept) | whole_numbers
