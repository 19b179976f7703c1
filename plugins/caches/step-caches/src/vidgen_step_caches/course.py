"""Where a sampler stands, and methods that stand in for a module's own; what both caches are put on with.

Letters: B clips, T latent frames.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

Caller = tuple[tuple[str, int], ...]
CHANGING = ("x_mask", "valid")
"""Conditioning that is made anew in every step."""


class Course:
    """step: the one at work, from 0. steps: how many there are. caller: the sequence of calls that the model's present
    one belongs to. x_mask: of that call, (B, T) bool or None.

    Calls with and without the prompt, together or in turn, are told apart by the very tensors of their conditioning,
    which samplers bind once. These are held, so that no other tensor comes to lie in their place.
    """

    def __init__(self, steps: int) -> None:
        self.step, self.steps = 0, steps
        self.caller: Caller = ()
        self.x_mask: Tensor | None = None
        self._held: dict[Caller, list[Any]] = {}

    @contextmanager
    def followed(self, model: nn.Module) -> Iterator[Callable[[int, int], None]]:
        """Notice every call of the model; gives what is to be told of every step."""
        handle = model.register_forward_pre_hook(self._called, with_kwargs=True)
        try:
            yield self._step_done
        finally:
            handle.remove()

    @property
    def at_an_end(self) -> bool:
        """Whether this is the first step, the last, or behind it."""
        return self.step == 0 or self.step >= self.steps - 1

    def within(self, first: float, last: float) -> bool:
        """Whether the step lies between two shares of the steps."""
        return round(first * self.steps) <= self.step < round(last * self.steps)

    def _step_done(self, done: int, total: int) -> None:
        self.step, self.steps = done, total

    def _called(self, model: nn.Module, args: tuple[Any, ...], conditioning: dict[str, Any]) -> None:
        told = {name: value for name, value in sorted(conditioning.items()) if name not in CHANGING}
        self.caller = tuple((name, id(value)) for name, value in told.items())
        self.x_mask = conditioning.get("x_mask")
        self._held.setdefault(self.caller, list(told.values()))


@contextmanager
def replaced(module: nn.Module, method: str, by: Callable[..., Any]) -> Iterator[None]:
    """Let `by` stand in for a method of one module, which may have been replaced before."""
    before = vars(module).get(method)
    setattr(module, method, by)
    try:
        yield
    finally:
        if before is None:
            delattr(module, method)
        else:
            setattr(module, method, before)
