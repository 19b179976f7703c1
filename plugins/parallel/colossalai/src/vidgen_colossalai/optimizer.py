"""ColossalAI's ZeRO optimizer, seen as an optimizer of the model's own parameters.

Inside, each rank updates a flat part of every parameter, and the state is of these parts. Outside, learning rates are
set and checkpoints are made by the model's parameters, so that another engine can go on from them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class WholeState(Mapping[nn.Parameter, dict[str, Tensor]]):
    """Parameter -> its state, gathered from all ranks when it is asked for, on the CPU. Every rank asks alike."""

    def __init__(self, zero: Any) -> None:
        """zero: a `LowLevelZeroOptimizer`."""
        self._zero = zero

    def __getitem__(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """Raises: KeyError, where there is none yet, or the parameter is not trained."""
        part = self._zero.get_working_to_master_map()[id(parameter)]
        if part not in self._zero.optim.state:
            raise KeyError(parameter)
        return {
            key: _whole(value, parameter) if isinstance(value, Tensor) and value.ndim else torch.as_tensor(value)
            for key, value in self._zero.optim.state[part].items()
        }

    def __iter__(self) -> Iterator[nn.Parameter]:
        """Those that have a state, in the optimizer's order."""
        whole = self._zero.get_master_to_working_map()
        state = self._zero.optim.state
        groups = self._zero.optim.param_groups
        return (whole[id(part)] for group in groups for part in group["params"] if part in state)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Shared(torch.optim.Optimizer):
    """groups: with the model's parameters, as they were before ZeRO took its parts of them."""

    def __init__(self, zero: Any, groups: list[dict[str, Any]], defaults: dict[str, Any]) -> None:
        super().__init__(groups, defaults)
        self._zero = zero
        self.state = WholeState(zero)  # type: ignore[assignment]  # it is only read from

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update what this rank has with the settings of the groups as they are now, and share it."""
        for ours, inner in zip(self.param_groups, self._zero.optim.param_groups, strict=True):
            inner.update({key: value for key, value in ours.items() if key in inner and key != "params"})
        self._zero.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, also the parts that were received."""
        self._zero.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Settings of the groups alone; the state is read from `state`."""
        return {"state": {}, "param_groups": self._zero.optim.state_dict()["param_groups"]}

    def load_state_dict(self, state_dict: Any) -> None:
        """state_dict: of whole parameters; every rank takes its part."""
        self._zero.load_state_dict(state_dict)


def _whole(part: Tensor, parameter: nn.Parameter) -> Tensor:
    """What ranks have of a parameter's state, (numbers of all ranks, with filling at the end) -> its shape."""
    flat = part.to(parameter.device).flatten()
    gathered = flat.new_empty(flat.numel() * dist.get_world_size())
    dist.all_gather(list(gathered.chunk(dist.get_world_size())), flat)
    return gathered[: parameter.numel()].reshape(parameter.shape).cpu()
