"""Start values, each entry drawn at its own address: they depend on the seed and the entry's name alone, not on the
device or on what was drawn before. And freezing, which goes by names as well."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from vidgen.rng import torch_generator

Fill = Callable[[Tensor, torch.Generator], object]


def xavier(weight: Tensor, generator: torch.Generator) -> None:
    """Uniform within sqrt(6 / (inputs + outputs)), axes after the first counted as inputs (Glorot and Bengio, 2010)."""
    bound = math.sqrt(6 / (weight[0].numel() + weight.shape[0]))
    weight.uniform_(-bound, bound, generator=generator)


def zero(weight: Tensor, generator: torch.Generator) -> None:
    """All zeros."""
    weight.zero_()


def normal(std: float) -> Fill:
    """Normal with mean 0."""
    return lambda weight, generator: weight.normal_(0, std, generator=generator)


def uniform(bound: float) -> Fill:
    """Uniform within +-bound."""
    return lambda weight, generator: weight.uniform_(-bound, bound, generator=generator)


@torch.no_grad()
def draw(module: nn.Module, rule: Callable[[str, Tensor], Fill], seed: int) -> None:
    """Fill every parameter and the null caption as `rule(name, tensor)` says; nothing is drawn on the meta device."""
    entries = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, tensor in entries.items():
        if tensor.is_meta:
            continue
        fresh = torch.empty(tensor.shape, device="cpu")
        rule(name, fresh)(fresh, torch_generator(seed, "start values", name))
        tensor.copy_(fresh)


def freeze(module: nn.Module, fixed: Callable[[str], bool]) -> None:
    """Stop training the parameters whose names are `fixed`."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not fixed(name))
