"""Exponential moving average of weights, in float32."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """The average of a model's parameters; starts as a copy of them.

    decay: share of the old average kept per update. start_step: until so many steps are done, the average is the
    weights themselves. warmup: n steps later the share is at most (1 + n) / (10 + n), and 0 at first. Parameters that
    are not trained are equal to the model's and are not averaged; buffers are the model's.
    """

    def __init__(self, model: nn.Module, decay: float, start_step: int = 0, *, warmup: bool = False) -> None:
        self.decay, self.start_step, self.warmup = decay, start_step, warmup
        self._model = model
        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._average = {name: p.detach().float().clone() for name, p in self._trained.items()}

    @torch.no_grad()
    def update(self, step: int = 0) -> None:
        """Move the average towards the model: average = decay * average + (1 - decay) * weight. step: how many were
        done before this one; matters where the average starts late or slowly."""
        weights = [p.detach().float() for p in self._trained.values()]
        torch._foreach_lerp_(list(self._average.values()), weights, 1.0 - self._kept(step))  # 1 gives weights exactly

    def _kept(self, step: int) -> float:
        """The old average's share."""
        later = step - self.start_step
        if later < 0 or (self.warmup and later == 0):
            return 0.0
        return min(self.decay, (1 + later) / (10 + later)) if self.warmup else self.decay

    @property
    def names(self) -> Collection[str]:
        """Of the weights that are averaged."""
        return self._average.keys()

    def state_dict(self) -> dict[str, Tensor]:
        """Averaged weights under the model's names, with everything that is not averaged as the model has it."""
        return {**{name: t.detach() for name, t in self._model.state_dict().items()}, **self._average}

    def swap(self) -> None:
        """Exchange average and weights, in place; a second call undoes it, exactly where weights are float32."""
        with torch.no_grad():
            for name, parameter in self._trained.items():
                held = parameter.detach().clone()
                parameter.copy_(self._average[name])
                self._average[name].copy_(held)


@contextmanager
def averaged(ema: Ema | None) -> Iterator[None]:
    """The averaged weights in place of the model's, where there are any."""
    if ema is not None:
        ema.swap()
    try:
        yield
    finally:
        if ema is not None:
            ema.swap()
