"""Tiny STDiT models whose every number is odd or unlike the others, and batches for them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lively import enliven
from torch import Tensor, nn
from vidgen.interfaces import Context
from vidgen_stdit import STDiT2Options, STDiT3Options, STDiTOptions, stdit1, stdit2, stdit3

TINY = Context(latent_channels=3, latent_size=(5, 6, 14), text_width=7, text_length=4, seed=11)
SIZES = {"hidden_size": 24, "depth": 2, "num_heads": 3}
MODELS = {
    "STDiT": (STDiTOptions, stdit1.build),
    "STDiT2": (STDiT2Options, stdit2.build),
    "STDiT3": (STDiT3Options, stdit3.build),
}


@pytest.fixture
def build() -> Callable[..., nn.Module]:
    """Make a tiny model of a name with its start values; keywords are options."""

    def make(name: str, context: Context = TINY, **options: Any) -> nn.Module:
        kind, factory = MODELS[name]
        return factory(kind(**{**SIZES, **options}), context).eval()

    return make


@pytest.fixture
def enlivened(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Make a tiny model of a name none of whose trained parameters is zero, so that everything has an influence."""

    def make(name: str, **options: Any) -> nn.Module:
        return enliven(build(name, **options))

    return make


@pytest.fixture
def fresh(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Make a tiny STDiT with its start values."""
    return lambda **options: build("STDiT", **options)


@pytest.fixture
def lively(enlivened: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Make a tiny STDiT none of whose parameters is zero."""
    return lambda **options: enlivened("STDiT", **options)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Two clips of five frames: x, timestep, y, mask."""
    generator = torch.Generator().manual_seed(5)
    return {
        "x": torch.randn(2, 3, 5, 6, 14, generator=generator),
        "timestep": torch.tensor([12.5, 731.0]),
        "y": torch.randn(2, 4, 7, generator=generator),
        "mask": torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]]),
    }


@pytest.fixture
def sized_batch() -> dict[str, Tensor]:
    """Two clips of five frames whose rows and columns do not divide into patches, with everything told of them."""
    generator = torch.Generator().manual_seed(7)
    return {
        "x": torch.randn(2, 3, 5, 7, 9, generator=generator),
        "timestep": torch.tensor([12.5, 731.0]),
        "y": torch.randn(2, 4, 7, generator=generator),
        "mask": torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]]),
        "x_mask": torch.tensor([[True, False, True, True, False], [False, True, True, False, True]]),
        "fps": torch.tensor([24.0, 8.0]),
        "height": torch.tensor([56.0, 56.0]),
        "width": torch.tensor([72.0, 72.0]),
        "num_frames": torch.tensor([17.0, 17.0]),
        "ar": torch.tensor([0.75, 0.75]),
    }
