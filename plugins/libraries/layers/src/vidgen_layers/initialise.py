"""Start values, each entry drawn at its own address: they depend on the seed and the entry's name alone, not on the
device or on what was drawn before. And freezing, which goes by names as well."""

import math
from collections.abc import Callable
from typing import Protocol

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


def constant(value: float) -> Fill:
    """The same number everywhere."""
    return lambda weight, generator: weight.fill_(value)


def normal(std: float) -> Fill:
    """Normal with mean 0."""
    return lambda weight, generator: weight.normal_(0, std, generator=generator)


def uniform(bound: float) -> Fill:
    """Uniform within +-bound."""
    return lambda weight, generator: weight.uniform_(-bound, bound, generator=generator)


class Startable(Protocol):
    """A network that knows its start values. A `torch.nn.Module`."""

    def start_value(self, name: str, value: Tensor) -> Fill:
        """How the entry `name`, of the shape of `value`, begins."""
        ...

    def tables(self) -> dict[str, Tensor]:
        """Buffers that are functions of the options alone (position tables, frequencies), by name; never loaded."""
        ...


@torch.no_grad()
def draw(network: Startable, seed: int, device: torch.device) -> None:
    """Give every entry still on the meta device its start value on `device`, and every table its numbers.

    Nothing is drawn when `device` is the meta device itself.
    """
    assert isinstance(network, nn.Module)
    for name, table in network.tables().items():
        owner, _, leaf = name.rpartition(".")
        network.get_submodule(owner).register_buffer(leaf, table.to(device), persistent=_saved(network, name))
    if device.type == "meta":
        return
    fresh = {}
    for name, value in network.state_dict().items():
        if value.is_meta:
            drawn = torch.empty(value.shape, device="cpu")
            network.start_value(name, drawn)(drawn, torch_generator(seed, "start values", name))
            fresh[name] = drawn.to(device, value.dtype)
    network.load_state_dict(fresh, strict=False, assign=True)


def freeze(module: nn.Module, fixed: Callable[[str], bool]) -> None:
    """Stop training the parameters whose names are `fixed`."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not fixed(name))


def _saved(module: nn.Module, name: str) -> bool:
    return name in module.state_dict()
