"""In what numbers an encoder's weights are kept: float32, 16 bits, or 8 bits a number for the matrices."""

from collections.abc import Collection
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vidgen.weights import State

Precision = Literal["fp32", "bf16", "fp16", "int8"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.bfloat16}
STEPS = 127  # of 8 bits, to either side


class Int8Linear(nn.Module):
    """A linear map whose matrix is kept in 8 bits a number, and a scale per row.

    An entry is off by half a step at most: the largest of its row, divided by 254. dtype: of the arithmetic; None: the
    input's.
    """

    weight: nn.Parameter
    scale: nn.Parameter

    def __init__(self, linear: nn.Linear, dtype: torch.dtype | None) -> None:
        super().__init__()
        rows, device = linear.out_features, linear.weight.device
        self.dtype = dtype
        # Parameters, though never trained: so they are shared out over ranks like all others.
        self.weight = _fixed(torch.empty(rows, linear.in_features, dtype=torch.int8, device=device))
        self.scale = _fixed(torch.empty(rows, dtype=torch.float32, device=device))
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., inputs). Returns (..., outputs), in `dtype`."""
        dtype = self.dtype or x.dtype
        y = F.linear(x.to(dtype), self.weight.to(dtype)) * self.scale.to(dtype)
        return y if self.bias is None else y + self.bias.to(dtype)


def set_precision(network: nn.Module, precision: Precision, *, exact: Collection[str] = ()) -> None:
    """Make a network's weights of `precision`. exact: names of linear maps that work in float32 all the same."""
    network.to(DTYPES[precision])
    for path, module in list(network.named_modules()):
        owner, _, name = path.rpartition(".")
        if not isinstance(module, nn.Linear):
            continue
        if precision == "int8":
            dtype = torch.float32 if name in exact else None
            setattr(network.get_submodule(owner), name, Int8Linear(module, dtype))
        elif name in exact:
            module.float()


def with_8_bits(state: State, network: nn.Module) -> State:
    """`state` with the matrices of all `Int8Linear`s of the network in 8 bits, each with its scale."""
    taken = dict(state)
    for path, module in network.named_modules():
        matrix = taken.get(f"{path}.weight")
        if isinstance(module, Int8Linear) and matrix is not None:
            taken[f"{path}.weight"], taken[f"{path}.scale"] = to_8_bits(matrix)
    return taken


def to_8_bits(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers of at most 127 and a scale per row, (rows,): their product is nearest to the matrix."""
    matrix = matrix.float()
    scale = matrix.abs().amax(dim=-1) / STEPS
    step = torch.where(scale == 0, 1.0, scale)  # of a row of zeros
    return (matrix / step[..., None]).round().to(torch.int8), scale


def _fixed(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value, requires_grad=False)
