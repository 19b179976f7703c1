"""Tiny image autoencoders of diffusers, and clips for them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from vidgen.interfaces import Context
from vidgen_autoencoder_kl import VideoAutoencoderKLOptions
from vidgen_autoencoder_kl.frames import build
from vidgen_autoencoders.frames import VideoAutoencoderKL

LEVELS = 3
CONFIG: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * LEVELS,
    "up_block_types": ["UpDecoderBlock2D"] * LEVELS,
    "block_out_channels": [6, 8, 12],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "latent_channels": 3,
}


@pytest.fixture
def config() -> dict[str, Any]:
    """Widths 6, 8 and 12, three latent channels, 4x4 pixels per latent."""
    return dict(CONFIG)


@pytest.fixture
def make() -> Callable[..., VideoAutoencoderKL]:
    """Make a tiny VideoAutoencoderKL; keywords are options."""

    def made(context: Context | None = None, **options: Any) -> VideoAutoencoderKL:
        options = {"config": CONFIG, **options}
        return build(VideoAutoencoderKLOptions(**options), context or Context(seed=3)).eval().requires_grad_(False)

    return made


@pytest.fixture
def plain() -> AutoencoderKL:
    """diffusers' own, with other weights."""
    torch.manual_seed(5)
    return AutoencoderKL(**CONFIG).eval().requires_grad_(False)


@pytest.fixture
def video() -> Tensor:
    """Two clips of three frames of 14 x 21 pixels, of which 12 x 20 fill latents."""
    return torch.rand(2, 3, 3, 14, 21, generator=torch.Generator().manual_seed(1)) * 2 - 1
