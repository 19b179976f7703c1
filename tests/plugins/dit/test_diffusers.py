"""The same weights in diffusers' own class; skipped where diffusers is not installed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from vidgen_dit.model import DiT

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install diffusers")
Make = Callable[..., DiT]


def theirs(*, norm_eps: float = 1e-6, **sizes: int) -> nn.Module:
    """Diffusers' class of the tiny image model's size."""
    sizes = {"in_channels": 3, "out_channels": 6, "num_layers": 2, "sample_size": 6, "patch_size": 2, **sizes}
    return diffusers.DiTTransformer2DModel(
        num_attention_heads=3, attention_head_dim=8, num_embeds_ada_norm=5, norm_eps=norm_eps, **sizes
    ).eval()


def spaced_as_in_the_original(model: nn.Module) -> nn.Module:
    """Frequencies spaced by 1/128 of their range, as the published weights were trained; diffusers' are by 1/127."""
    for block in model.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    return model


def differ(model: DiT, other: nn.Module, timestep: Tensor) -> float:
    x = torch.randn(4, 3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([0, 4, 5, 2])
    with torch.no_grad():
        predicted = model(x, timestep, classes)[:, :, 0]
        wanted = other(x[:, :, 0], timestep=timestep, class_labels=classes).sample
    assert wanted.abs().max() > 0.5
    return (predicted - wanted).abs().max().item()


def test_diffusers_predicts_the_same_with_our_weights(lively: Make, still: dict[str, Any]) -> None:
    model, other = lively(**still), theirs()
    other.load_state_dict(model.state_in("diffusers"), strict=True)
    assert differ(model, other, torch.zeros(4)) < 1e-4  # where all frequencies agree, without changing anything
    assert differ(model, spaced_as_in_the_original(other), torch.tensor([0, 1, 499, 999])) < 1e-4


def test_without_a_variance_too(lively: Make, still: dict[str, Any]) -> None:
    model, other = lively(**still, learn_sigma=False, patch_size=(1, 3, 3)), theirs(out_channels=3, patch_size=3)
    other.load_state_dict(model.state_in("diffusers"), strict=True)
    assert differ(model, spaced_as_in_the_original(other), torch.tensor([0, 1, 499, 999])) < 1e-4


def test_weights_saved_by_diffusers_predict_the_same_here(fresh: Make, still: dict[str, Any], tmp_path: Path) -> None:
    other = theirs()
    with torch.no_grad():
        for i, parameter in enumerate(other.parameters()):
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i)))
        for block in other.transformer_blocks[1:]:  # one embedder for all blocks, as in every published DiT
            block.norm1.emb.load_state_dict(other.transformer_blocks[0].norm1.emb.state_dict())
    other.save_pretrained(tmp_path)
    model = fresh(**still, from_pretrained=str(tmp_path))
    assert differ(model, other, torch.zeros(4)) < 1e-4
    assert differ(model, spaced_as_in_the_original(other), torch.tensor([0, 1, 499, 999])) < 1e-4
