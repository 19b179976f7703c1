"""One process on one device: the parallel engine of laptops and of single GPUs."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vidgen.builtin import SingleOptions
from vidgen.devices import DTYPES, find_device
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.mesh import ALONE, World, ranks_of


def build(options: SingleOptions, context: Context) -> "Single":
    """Choose the device. Raises: UserError, when the one asked for is not there, or there are several processes."""
    _, size, _ = ranks_of(os.environ)
    if size > 1:
        raise UserError(
            f"parallel.type: single is one process, but {size} were started. Use parallel.type=zero2 (or ddp, zero3, "
            "zero2-seq), or start one process."
        )
    return Single(find_device(options.device), DTYPES[context.dtype])


class Single:
    """float32 weights; forward passes under autocast in fp16 or bf16; fp16 with a loss scale (arXiv 1710.03740)."""

    rank = 0
    num_ranks = 1
    tokens = ALONE

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype, self.world = device, dtype, World()
        self._scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self._parameters: list[nn.Parameter] = []
        self._optimizer: torch.optim.Optimizer | None = None

    def prepare(
        self, model: nn.Module, make_optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    ) -> torch.optim.Optimizer:
        """See `interfaces.Parallel`."""
        self._optimizer = make_optimizer(model)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        return self._optimizer

    def autocast(self) -> AbstractContextManager[Any]:
        """See `interfaces.Parallel`."""
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def backward(self, loss: Tensor, *, last: bool = True) -> None:
        """See `interfaces.Parallel`."""
        self._scaler.scale(loss).backward()

    def step(self, max_norm: float) -> Tensor:
        """See `interfaces.Parallel`. A step whose fp16 gradients overflow is left out, the scale falls, and 0 is
        returned: that is how loss scaling finds its scale, and no fault."""
        assert self._optimizer is not None, "prepare() comes first"
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, max_norm if max_norm > 0 else float("inf"))
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        return norm if self.dtype != torch.float16 else torch.nan_to_num(norm, nan=0.0, posinf=0.0)

    def whole(self) -> AbstractContextManager[None]:
        """See `interfaces.Parallel`."""
        return nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """See `interfaces.Parallel`."""
        return {"scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `interfaces.Parallel`."""
        if state.get("scaler"):
            self._scaler.load_state_dict(state["scaler"])
