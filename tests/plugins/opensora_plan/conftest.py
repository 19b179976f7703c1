"""Tiny models whose every number is odd or unlike the others, and a batch for them."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import torch
from lively import enliven
from torch import Tensor, nn
from vidgen.interfaces import Context
from vidgen_opensora_plan import InpaintOptions, T2VOptions, inpaint, t2v

TINY = Context(latent_channels=3, latent_size=(3, 4, 10), latent_stride=(5, 8, 8), text_width=7, text_length=4, seed=11)
SIZES = {"num_layers": 4, "num_attention_heads": 3, "attention_head_dim": 12}
MODELS = {"t2v": (T2VOptions, t2v.build), "inpaint": (InpaintOptions, inpaint.build)}


@pytest.fixture
def fresh() -> Callable[..., nn.Module]:
    """Make a tiny model with its start values; keywords are options, `context` says what they are built with."""

    def make(name: str = "t2v", *, context: Context = TINY, **options: Any) -> nn.Module:
        kind, build = MODELS[name]
        known = {field.name for field in attrs.fields(kind)}
        assert set(options) <= known
        return build(kind(**{**SIZES, **options}), context).eval()

    return make


@pytest.fixture
def lively(fresh: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Make a tiny model none of whose parameters is zero, so that everything has an influence."""

    def make(name: str = "t2v", **options: Any) -> nn.Module:
        return enliven(fresh(name, **options))

    return make


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Two clips of three frames, 15 x 2 tokens: x, timestep, y, mask."""
    generator = torch.Generator().manual_seed(5)
    return {
        "x": torch.randn(2, 3, 3, 4, 10, generator=generator),
        "timestep": torch.tensor([12.5, 731.0]),
        "y": torch.randn(2, 4, 7, generator=generator),
        "mask": torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]]),
    }
