"""Start values of layers as torch gives them, by entry."""

from math import prod, sqrt

from torch import Tensor, nn
from vidgen_layers.initialise import Fill, constant, uniform, zero

MIXED_EVENLY = "mix_factor"  # diffusers mixes a frame's own and its neighbours' features by the sigmoid of this


def like_torch(network: nn.Module, name: str) -> Fill:
    """Weights and biases of linear maps and convolutions uniform within 1 / sqrt(inputs); normalisations do nothing."""
    owner, _, leaf = name.rpartition(".")
    weight = network.get_submodule(owner)._parameters.get("weight")
    if weight is None:
        assert leaf == MIXED_EVENLY, f"{name}: no known start value"
        return zero
    if weight.ndim > 1:
        return uniform(1 / sqrt(prod(weight.shape[1:])))
    return constant(1.0) if leaf == "weight" else zero


class StartsLikeTorch(nn.Module):
    """A network that begins as torch lets it, and has no tables. See `vidgen_layers.initialise.Startable`."""

    def start_value(self, name: str, value: Tensor) -> Fill:
        """How the entry `name`, of the shape of `value`, begins."""
        return like_torch(self, name)

    def tables(self) -> dict[str, Tensor]:
        """Buffers that are functions of the options alone: none."""
        return {}
