"""What features depend on beside weights and options, as a tensor: kept features are found again by what a state dict
holds, and files that an option names do not count there."""

from collections.abc import Iterable
from hashlib import blake2b

import torch
from torch import Tensor

SIZE = 8


def identity(parts: Iterable[bytes]) -> Tensor:
    """(8,) uint8 on the default device, the same for the same parts in the same order alone."""
    digest = blake2b(digest_size=SIZE)
    for part in parts:
        digest.update(blake2b(part).digest())
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def nothing() -> Tensor:
    """Of what depends on nothing else: (0,) uint8."""
    return torch.empty(0, dtype=torch.uint8)
