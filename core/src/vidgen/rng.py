"""Addressed randomness: every draw is a pure function of (seed, purpose, where), never of what was drawn before.

So a resumed run continues bit for bit, sample i is the same alone, in a batch or on eight ranks, and the number of
workers changes nothing. Draws are made on the CPU and moved, so that the device changes nothing either.
"""

from collections.abc import Sequence
from hashlib import blake2b
from operator import index

import numpy as np
import torch
from torch import Tensor

Address = tuple[int | str, ...]


def address(seed: int, purpose: str, *where: int | str) -> int:
    """A 63-bit number: the same for the same arguments on every machine, another for any others."""
    parts = [part if isinstance(part, str) else index(part) for part in where]  # numpy's integers count as ours
    digest = blake2b(repr((index(seed), purpose, *parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def torch_generator(seed: int, purpose: str, *where: int | str) -> torch.Generator:
    """A CPU generator at its own address. torch takes 32 bits of it: of 100,000 addresses about one pair coincides."""
    return torch.Generator().manual_seed(address(seed, purpose, *where))


def numpy_generator(seed: int, purpose: str, *where: int | str) -> np.random.Generator:
    """A numpy generator at its own address; for datasets and samplers."""
    return np.random.Generator(np.random.PCG64(address(seed, purpose, *where)))


class Draws:
    """Random numbers for a batch, one address per sample: row i of every result depends on `samples[i]` alone.

    seed: the run's seed, or one of each sample's own.
    samples: an address per sample: (epoch, row) in training, (prompt, repeat) in sampling.
    """

    def __init__(self, seed: int | Sequence[int], samples: Sequence[Address]) -> None:
        self.samples = tuple(samples)
        self.seeds = (seed,) * len(self.samples) if isinstance(seed, int) else tuple(seed)
        assert len(self.seeds) == len(self.samples), "a seed for each sample"

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, row: int) -> "Draws":
        """Those of one sample."""
        return Draws(self.seeds[row], [self.samples[row]])

    def normal(
        self, purpose: str, shape: Sequence[int], *, device: torch.device | str = "cpu", step: int = 0
    ) -> Tensor:
        """Standard normal numbers, (B, *shape), float32. `step` tells draws of one purpose apart."""
        numbers = self._empty(shape, device)
        for row, generator in zip(numbers, self.generators(purpose, step=step), strict=True):
            row.normal_(generator=generator)
        return numbers.to(device, non_blocking=True)

    def uniform(
        self, purpose: str, shape: Sequence[int] = (), *, device: torch.device | str = "cpu", step: int = 0
    ) -> Tensor:
        """Uniform numbers in [0, 1), (B, *shape), float32."""
        numbers = self._empty(shape, device)
        for row, generator in zip(numbers, self.generators(purpose, step=step), strict=True):
            row.uniform_(generator=generator)
        return numbers.to(device, non_blocking=True)

    def integers(
        self, purpose: str, high: int, shape: Sequence[int] = (), *, device: torch.device | str = "cpu", step: int = 0
    ) -> Tensor:
        """Uniform integers in 0..high-1, (B, *shape), int64."""
        numbers = self._empty(shape, device, torch.int64)
        for row, generator in zip(numbers, self.generators(purpose, step=step), strict=True):
            row.random_(high, generator=generator)
        return numbers.to(device, non_blocking=True)

    def _empty(self, shape: Sequence[int], device: torch.device | str, dtype: torch.dtype = torch.float32) -> Tensor:
        """Room for a row per sample, (B, *shape), on the CPU; for a GPU where it fetches without waiting."""
        pinned = torch.device(device).type == "cuda"
        return torch.empty((len(self), *shape), dtype=dtype, device="cpu", pin_memory=pinned)

    def generators(self, purpose: str, *, step: int = 0) -> list[torch.Generator]:
        """One for each sample, at its own address, on the CPU: for libraries that draw for themselves."""
        return [
            torch_generator(seed, purpose, step, *sample) for seed, sample in zip(self.seeds, self.samples, strict=True)
        ]
