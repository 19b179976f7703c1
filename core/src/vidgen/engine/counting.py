"""Lets operations on the meta device keep what they keep on a GPU: fused attention, and dtypes under autocast.

torch has neither there: it writes attention out, with scores that grow with tokens squared, and knows no autocast.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

LOWER = {
    functional.linear,
    functional.conv1d,
    functional.conv2d,
    functional.conv3d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
    functional.scaled_dot_product_attention,
    torch.matmul,
    torch.bmm,
    torch.addmm,
    torch.baddbmm,
    torch.einsum,
    Tensor.matmul,
    Tensor.bmm,
}
"""Worked out in the lower dtype. Source: torch's list of autocast operations for CUDA, as far as models use them."""

WIDER = {
    functional.layer_norm,
    functional.group_norm,
    functional.softmax,
    functional.mse_loss,
    torch.softmax,
    torch.exp,
    torch.pow,
    torch.rsqrt,
    Tensor.softmax,
    Tensor.exp,
    Tensor.pow,
    Tensor.rsqrt,
}
"""Worked out in float32. Source: likewise."""


class Counting(TorchFunctionMode):
    """A context manager. dtype: of autocast; float32 is none. casts: where those of weights are kept until the forward
    pass is over, as autocast does; None keeps none.

    torch puts such modes aside in the backward pass: what is recomputed there has to enter one itself.
    """

    def __init__(self, dtype: torch.dtype, casts: dict[int, Tensor] | None = None) -> None:
        super().__init__()
        self._dtype, self._casts = dtype, casts

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._dtype != torch.float32 and (func in LOWER or func in WIDER):
            cast = self._lowered if func in LOWER else _widened
            args, kwargs = _each(cast, args), {name: _each(cast, value) for name, value in kwargs.items()}
        if func is functional.scaled_dot_product_attention and args[0].is_meta:
            # flash attention (arXiv 2307.08691); its results lie in memory as those of GPUs
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*args[:3])[0]
        return func(*args, **kwargs)

    def _lowered(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        if self._casts is None or not (value.is_leaf and value.requires_grad):
            return value.to(self._dtype)
        if id(value) not in self._casts:
            self._casts[id(value)] = value.to(self._dtype)
        return self._casts[id(value)]


def _each(cast: Callable[[Any], Any], value: Any) -> Any:
    """A function's arguments: tensors, and lists of them."""
    return type(value)([_each(cast, one) for one in value]) if type(value) in (list, tuple) else cast(value)


def _widened(value: Any) -> Any:
    lower = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if lower else value
