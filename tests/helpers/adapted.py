"""Models that answer: small ones whose weights, final layers among them, are not zero."""

from collections.abc import Callable
from typing import Any

import torch
from attrs import evolve
from torch import Tensor, nn
from vidgen.registry import Registry
from vidgen.rng import torch_generator
from vidgen.testing import tiny_context, tiny_model_inputs
from vidgen.testing.subject import Subject

SMALL: dict[str, dict[str, Any]] = {
    **{name: {"hidden_size": 24, "depth": 2, "num_heads": 2} for name in ("STDiT", "STDiT2", "STDiT3", "DiT", "Latte")},
    **{name: {"hidden_size": 24, "depth": 2, "num_heads": 2} for name in ("PixArt", "PixArtMS", "PixArt_Sigma")},
    "OpenSoraT2V_v1_3": {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 12, "sparse_n": 2},
}


def moved(model: nn.Module, purpose: str, names: Callable[[str], bool] = lambda name: True) -> None:
    """Add small numbers to parameters, each at its own address."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if names(name):
                draws = torch.randn(parameter.shape, generator=torch_generator(0, purpose, name))
                parameter += 0.1 * draws


def predicted(model: Any) -> Tensor:
    x, t, conditioning = tiny_model_inputs(model)
    with torch.no_grad():
        found: Tensor = model.eval()(x, t, **conditioning)
    return found


def model_of(name: str = "STDiT", **options: Any) -> nn.Module:
    """A small model, the same each time."""
    registry = Registry.discover()
    context, values = evolve(tiny_context(), registry=registry), {**SMALL[name], **options}
    model: nn.Module = Subject("model", registry.find("model", name), values, context, ()).build(seed=0)
    moved(model, "weights")
    return model
