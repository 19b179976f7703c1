"""Compares models whose tokens several ranks share with the same models on one rank."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from ranks import on_ranks
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from vidgen.mesh import World, share_tokens

Case = Callable[[], tuple[nn.Module, Mapping[str, Any]]]
"""Makes a model and what it is called with."""

Answers = dict[str, tuple[Tensor, dict[str, Tensor]]]
"""Of each case: the output, and gradients averaged over the ranks by the parameter's name."""


def answers(world: World, cases: Mapping[str, Case]) -> Answers:
    """What every case gives when all ranks share its tokens. Ranks other than the first return the outputs alone."""
    group, _, _ = world.token_groups(world.size)
    given = {}
    for name, make in cases.items():
        model, batch = make()
        share_tokens(model, group)
        torch.manual_seed(7)  # what a model in training draws, ranks of a group draw alike
        out = model(**batch)
        (out.square().mean() + out.sin().mean()).backward()
        slopes = {name: world.mean(one.grad) for name, one in model.named_parameters() if one.grad is not None}
        given[name] = (out.detach(), slopes if world.is_main else {})
    return given


def assert_shared_alike(function: Callable[[World], Answers], sizes: tuple[int, ...] = (2, 4)) -> None:
    """function: of a module's top level, returns `answers`. Outputs on every rank, and gradients, are those of one."""
    (alone,) = on_ranks(function, 1)
    for size in sizes:
        shared = on_ranks(function, size)
        for name, (out, slopes) in alone.items():
            assert slopes
            for rank, answer in enumerate(shared):
                _assert_close(answer[name][0], out, f"{name}: output of rank {rank} of {size}")
            assert shared[0][name][1].keys() == slopes.keys()
            for parameter, slope in slopes.items():
                _assert_close(shared[0][name][1][parameter], slope, f"{name}: gradient of {parameter} on {size} ranks")


def recomputed(model: nn.Module) -> nn.Module:
    """The model in training, with blocks that are worked out again in the backward pass."""
    for block in model.repeated_blocks():
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return model.train()


def _assert_close(given: Tensor, expected: Tensor, what: str) -> None:
    """Within 1e-5 of each number, or of the largest where that is above 1: the latter is float32's rounding of sums."""
    atol = 1e-5 * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=atol, msg=lambda text: f"{what}: {text}")
