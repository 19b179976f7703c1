"""One linear map, as large as in a block, against torch's own."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from vidgen_layers.linear import Linear

from vidgen_bench.comparison import Alternatives, Comparison, seconds

ROWS, INSIDE, OUT = 4096, 576, 2304


def linear() -> Iterator[Comparison]:
    """Forward, and forward with backward."""
    for what, run in (("forward", _forward), ("forward+backward", _backward)):
        yield Comparison(
            name=f"linear {ROWS}x{INSIDE} to {OUT}, {what}",
            against="torch.nn.Linear",
            goal=1.0,
            prepare=partial(_ready, run),
            measure=seconds,
            warm_up=3,
        )


def _ready(run: Callable[[nn.Module, Tensor], object]) -> Alternatives:
    ours, theirs = Linear(INSIDE, OUT), nn.Linear(INSIDE, OUT)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(ROWS, INSIDE, generator=torch.Generator().manual_seed(1)).requires_grad_()
    return Alternatives(
        ours=lambda: run(ours, x),
        theirs=lambda: run(theirs, x),
        difference=lambda: float((_forward(ours, x) - _forward(theirs, x)).abs().max()),
    )


def _forward(layer: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return layer(x)


def _backward(layer: nn.Module, x: Tensor) -> None:
    layer(x).sum().backward()
