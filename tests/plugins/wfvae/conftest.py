"""Tiny autoencoders, and clips for them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from vidgen.interfaces import Context
from vidgen_wfvae import SWITCHES, WFVAEOptions
from vidgen_wfvae.autoencoder import WFVAE
from vidgen_wfvae.build import build

TINY: dict[str, Any] = {
    "latent_dim": 3,
    "base_channels": 6,
    "encoder_energy_flow_hidden_size": 5,
    "decoder_energy_flow_hidden_size": 6,
    "encoder_num_resblocks": 1,
    "decoder_num_resblocks": 1,
    "norm_type": "layernorm",
    "t_interpolation": "trilinear",
    "scale": (0.5, 2.0, 1.5),
    "shift": (0.1, -0.2, 0.3),
}


@pytest.fixture
def eight() -> dict[str, str]:
    """The switches of 8 video frames per latent frame."""
    return {key: values[1] for key, values in SWITCHES.items()}


@pytest.fixture
def options() -> Callable[..., WFVAEOptions]:
    """Options of a tiny autoencoder, changed."""

    def chosen(**changes: Any) -> WFVAEOptions:
        return WFVAEOptions(**{**TINY, **changes})

    return chosen


@pytest.fixture
def make(options: Callable[..., WFVAEOptions]) -> Callable[..., WFVAE]:
    """Make a tiny autoencoder with its start values; keywords are options."""

    def made(context: Context | None = None, **changes: Any) -> WFVAE:
        return build(options(**changes), context or Context(seed=3)).eval().requires_grad_(False)

    return made


@pytest.fixture
def video_of() -> Callable[..., Tensor]:
    """Two clips of so many frames of 8 x 16 pixels."""

    def video(frames: int, rows: int = 8, columns: int = 16) -> Tensor:
        return torch.rand(2, 3, frames, rows, columns, generator=torch.Generator().manual_seed(frames)) * 2 - 1

    return video
