"""A tiny DiT whose every number is odd or unlike the others, and a batch for it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from attrs import evolve
from lively import enliven
from torch import Tensor
from vidgen.interfaces import Context
from vidgen_dit import DiTOptions
from vidgen_dit.model import DiT, build

TINY = Context(latent_channels=3, latent_size=(5, 6, 14), text_width=7, text_length=4, seed=11)
STILL = {"input_size": (1, 6, 6), "no_temporal_pos_emb": True, "condition": "label_5"}
"""Options of an image model."""


@pytest.fixture
def fresh() -> Callable[..., DiT]:
    """Make a tiny model with its start values; keywords are options."""

    def make(**options: Any) -> DiT:
        context = evolve(TINY, latent_size=None, text_width=None) if "input_size" in options else TINY
        if str(options.get("condition")).startswith("label"):
            context = evolve(context, text_width=None)  # as of a text encoder that gives classes
        return build(DiTOptions(**{"hidden_size": 24, "depth": 2, "num_heads": 3, **options}), context).eval()

    return make


@pytest.fixture
def lively(fresh: Callable[..., DiT]) -> Callable[..., DiT]:
    """Make a tiny model none of whose parameters is zero, so that everything has an influence."""

    def make(**options: Any) -> DiT:
        return enliven(fresh(**options))

    return make


@pytest.fixture
def still() -> dict[str, Any]:
    """Options of an image model of five classes, whose latents are (3, 1, 6, 6)."""
    return dict(STILL)


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
