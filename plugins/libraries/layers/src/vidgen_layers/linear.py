"""Linear maps, faster on the CPU.

torch multiplies float32 matrices with MKL, which on AMD processors reaches about two thirds of the core's peak. oneDNN,
which torch has as well and uses for bfloat16, convolutions and compiled code, reaches more; see docs/performance.md.

Letters: B rows of any number of axes, I features in, O features out.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether torch has the operator, which is the one its compiler emits."""

WORTHWHILE = 2**27
"""Multiplications from which on the longer way to the operator pays."""


class Linear(nn.Linear):
    """As torch's, in all respects; on the CPU in float32 worked out by oneDNN."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, I) -> (B, O)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x: (B, I); weight: (O, I); bias: (O,). Returns x weight^T + bias, (B, O), with gradients of all three."""
    if _suits_onednn(x, weight):
        return _OneDnnLinear.apply(x, weight, bias)
    return functional.linear(x, weight, bias)


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        slope = slope.contiguous()
        rows = slope.flatten(0, -2)
        of_x = _product(slope, weight.t()) if wanted[0] else None
        of_weight = _weight_slope(rows, x.flatten(0, -2)) if wanted[1] else None
        return of_x, of_weight, rows.sum(0) if wanted[2] else None


def _weight_slope(slope: Tensor, x: Tensor) -> Tensor:
    """slope: (B, O); x: (B, I). Returns slope^T x, (O, I), with the longer side as columns, which is faster."""
    if slope.shape[1] > x.shape[1]:
        return _product(x.t(), slope.t()).t()
    return _product(slope.t(), x.t())


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weight^T + bias."""
    if torch.compiler.is_compiling():
        return torch.ops.vidgen_layers.product(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def _shape_of_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))


def _as_operator() -> torch.library.Library:
    """`_product` as an operator that compiled code calls as it is. Defined the long way, since calling what
    `torch.library.custom_op` makes takes five times as long."""
    library = torch.library.Library("vidgen_layers", "DEF")
    library.define("product(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
    library.impl("product", _product, "CPU")
    torch.library.register_fake("vidgen_layers::product", _shape_of_product, lib=library)
    return library


def _suits_onednn(x: Tensor, weight: Tensor) -> bool:
    """Where it is faster; elsewhere torch's own choice is the best."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and HAS_ONEDNN
        and x.numel() * len(weight) >= WORTHWHILE
        and not torch.is_autocast_enabled("cpu")
    )


LIBRARY = _as_operator()
"""Held, since an operator lives as long as its library."""
