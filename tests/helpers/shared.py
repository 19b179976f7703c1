"""Compares models whose tokens several ranks share with the same models on one rank, and counts what ranks send."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from ranks import on_ranks
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from vidgen.mesh import World, share_tokens

Case = Callable[[], tuple[nn.Module, Mapping[str, Any]]]
"""Makes a model and what it is called with."""


class Answer(NamedTuple):
    """gradients: averaged over the ranks, by the parameter's name, of the first rank alone. forward, backward: bytes
    that a rank sent to others in each pass."""

    output: Tensor
    gradients: dict[str, Tensor]
    forward: int
    backward: int


Answers = dict[str, Answer]
"""By the name of the case."""


class Traffic(TorchDispatchMode):
    """Counts the bytes that this rank sends."""

    def __init__(self, ranks: int) -> None:
        super().__init__()
        self.ranks, self.sent = ranks, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Sees every operator, collectives among them."""
        if func is torch.ops.c10d.alltoall_base_.default:
            self.sent += args[1].nbytes * (self.ranks - 1) // self.ranks
        if func is torch.ops.c10d.allgather_.default:
            self.sent += args[1][0].nbytes * (self.ranks - 1)
        return func(*args, **(kwargs or {}))


def answers(world: World, cases: Mapping[str, Case]) -> Answers:
    """What every case gives when all ranks share its tokens."""
    group, _, _ = world.token_groups(world.size)
    given = {}
    for name, make in cases.items():
        model, batch = make()
        share_tokens(model, group)
        torch.manual_seed(7)  # what a model in training draws, ranks of a group draw alike
        with Traffic(world.size) as forward:
            out = model(**batch)
        with Traffic(world.size) as backward:
            (out.square().mean() + out.sin().mean()).backward()
        slopes = {name: world.mean(one.grad) for name, one in model.named_parameters() if one.grad is not None}
        given[name] = Answer(out.detach(), slopes if world.is_main else {}, forward.sent, backward.sent)
    return given


def assert_shared_alike(function: Callable[[World], Answers], sizes: tuple[int, ...] = (2, 4)) -> dict[int, Answers]:
    """function: of a module's top level, returns `answers`. Outputs on every rank, and gradients, are those of one.
    Returns the first rank's answers by the number of ranks."""
    (alone,) = on_ranks(function, 1)
    found = {}
    for size in sizes:
        shared = on_ranks(function, size)
        for name, expected in alone.items():
            for rank, answer in enumerate(shared):
                _assert_close(answer[name].output, expected.output, f"{name}: output of rank {rank} of {size}")
            _assert_close_gradients(shared[0][name].gradients, expected.gradients, f"{name}, {size} ranks")
        found[size] = shared[0]
    return found


def exchanged(numbers: int, ranks: int, times: int) -> int:
    """Bytes that a rank sends when float32 tensors of so many numbers in all, padding included, are exchanged."""
    return 4 * numbers * (ranks - 1) // ranks**2 * times


def gathered(numbers: int, ranks: int) -> int:
    """Bytes that a rank sends when all get a float32 tensor of so many numbers, padding included."""
    return 4 * numbers // ranks * (ranks - 1)


def recomputed(model: nn.Module) -> nn.Module:
    """The model in training, with blocks that are worked out again in the backward pass."""
    for block in model.repeated_blocks():
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return model.train()


def _assert_close_gradients(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    assert expected
    assert given.keys() == expected.keys()
    for name, slope in expected.items():
        _assert_close(given[name], slope, f"{what}: gradient of {name}")


def _assert_close(given: Tensor, expected: Tensor, what: str) -> None:
    """Within 1e-5 of each number, or of the largest where that is above 1: the latter is float32's rounding of sums."""
    atol = 1e-5 * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=atol, msg=lambda text: f"{what}: {text}")
