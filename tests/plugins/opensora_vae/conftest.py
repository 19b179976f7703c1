"""Tiny autoencoders of videos, and clips for them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor
from vidgen.interfaces import Context
from vidgen_opensora_vae import PipelineOptions, SpatialOptions, TemporalOptions
from vidgen_opensora_vae.build import build
from vidgen_opensora_vae.pipeline import VideoAutoencoderPipeline

CONFIG: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [4, 6],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "latent_channels": 3,
}
TEMPORAL = TemporalOptions(
    in_out_channels=3, latent_embed_dim=2, embed_dim=5, filters=4, num_res_blocks=1, num_groups=2
)
SHIFT, SCALE = (0.1, -0.2, 0.3, 0.4, -0.5), (2.0, 0.5, 3.0, 1.5, 0.8)


@pytest.fixture
def options() -> Callable[..., PipelineOptions]:
    """Options of an autoencoder of 3 and then 5 channels, 4x2x2. spatial: of vae_2d; keywords: further ones."""

    def chosen(spatial: Mapping[str, Any] = MappingProxyType({}), **changes: Any) -> PipelineOptions:
        parts = {"vae_2d": SpatialOptions(**{"config": CONFIG, **spatial}), "vae_temporal": TEMPORAL}
        return PipelineOptions(**{**parts, "shift": SHIFT, "scale": SCALE, **changes})

    return chosen


@pytest.fixture
def make(options: Callable[..., PipelineOptions]) -> Callable[..., VideoAutoencoderPipeline]:
    """Make a tiny autoencoder with its start values; keywords are options."""

    def made(context: Context | None = None, **changes: Any) -> VideoAutoencoderPipeline:
        return build(options(**changes), context or Context(seed=3)).eval().requires_grad_(False)

    return made


@pytest.fixture
def video() -> Tensor:
    """Two clips of 13 frames of 6 x 8 pixels."""
    return torch.rand(2, 3, 13, 6, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
