"""A tiny PixArt whose every number is odd or unlike the others, and a batch for it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import vidgen_pixart
from lively import enliven
from torch import Tensor
from vidgen.interfaces import Context
from vidgen_pixart.model import PixArt, build

TINY = Context(latent_channels=3, latent_size=(3, 4, 10), text_width=7, text_length=4, seed=11)
OPTIONS = {component.name: component.options for component in vidgen_pixart.vidgen_models()}


@pytest.fixture
def fresh() -> Callable[..., PixArt]:
    """Make a tiny model with its start values: its registered name, then options."""

    def make(name: str = "PixArt", **options: Any) -> PixArt:
        return build(OPTIONS[name](**{"hidden_size": 24, "depth": 2, "num_heads": 3, **options}), TINY).eval()

    return make


@pytest.fixture
def lively(fresh: Callable[..., PixArt]) -> Callable[..., PixArt]:
    """Make a tiny model none of whose parameters is zero, so that everything has an influence."""

    def make(name: str = "PixArt", **options: Any) -> PixArt:
        return enliven(fresh(name, **options))

    return make


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Two clips of three frames: x, timestep, y, mask."""
    generator = torch.Generator().manual_seed(5)
    return {
        "x": torch.randn(2, 3, 3, 4, 10, generator=generator),
        "timestep": torch.tensor([12.5, 731.0]),
        "y": torch.randn(2, 4, 7, generator=generator),
        "mask": torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]]),
    }


@pytest.fixture
def sizes() -> dict[str, Tensor]:
    """Height, width and their ratio of the two clips, in pixels."""
    return {
        "height": torch.tensor([32.0, 20.0]),
        "width": torch.tensor([80.0, 50.0]),
        "ar": torch.tensor([0.4, 0.4]),
    }
