"""A network in the care of a parallel engine, trained by methods of its own and by gradients taken on the way.

Engines that share weights out gather them when a module is called, and notice the backward pass by what the call
returns. An autoencoder is trained by `encode_parts` and `decode_parts`, a discriminator by two calls and a gradient of
one of them: what a step does with a network is therefore one call of `InCare`.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from vidgen.engine.optimization import make_optimizer
from vidgen.interfaces import Parallel
from vidgen.mesh import World
from vidgen.recipe.schema import OptimizerOptions

T = TypeVar("T")


class InCare(nn.Module):
    """Holds a network whose weights are whole while `forward` lasts."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, work: Callable[..., T], *given: Any) -> T:
        """What `work` makes of what is given, by any method of the network. Tensors with a gradient are to come back in
        tuples and mappings: the backward pass begins at them."""
        return work(*given)


def take_into_care(
    network: nn.Module, parallel: Parallel, options: OptimizerOptions
) -> tuple[InCare, torch.optim.Optimizer]:
    """The network with its optimizer, which knows parameters by the network's own names."""
    held = InCare(network)
    return held, parallel.prepare(held, lambda _: make_optimizer(network, options))


def detour(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function(x)`, whose gradient reaches `x` and none of the weights that the function uses."""
    made: Tensor = _Detour.apply(x, function)
    return made


def over_ranks(world: World, mine: Tensor) -> Tensor:
    """The mean of a number over all ranks, with the gradient of this rank's alone: engines average gradients."""
    return mine + (world.mean(mine.detach()) - mine.detach())


class _Detour(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            ctx.x = x.detach().requires_grad_()
            ctx.made = function(ctx.x)
        made: Tensor = ctx.made.detach()
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (found,) = torch.autograd.grad(ctx.made, ctx.x, gradients[0], retain_graph=True)
        return found, None
