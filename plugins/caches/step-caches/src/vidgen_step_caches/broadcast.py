"""Pyramid attention broadcast (arXiv 2408.12588): outputs of attention layers are used for several steps.

In the middle of sampling the outputs of attention differ little from step to step: least those of cross attention, more
those over time, most those over space. Rows of a batch do not touch each other; nothing is read back from the device.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from functools import partial
from typing import Any

from torch import Tensor, nn
from vidgen import UserError
from vidgen.interfaces import Context

from vidgen_step_caches import BroadcastOptions
from vidgen_step_caches.course import Course, replaced

METHODS = ("forward", "packed")
"""By which layers are called: for clips of one size, and for packed ones."""


class PyramidAttentionBroadcast:
    """See `vidgen.interfaces.StepCache`."""

    def __init__(self, options: BroadcastOptions) -> None:
        self.every, self.between = options.every, options.between

    @contextmanager
    def applied(self, model: Any, steps: int) -> Iterator[Callable[[int, int], None]]:
        """See `vidgen.interfaces.StepCache`. Raises: UserError, when no module fits a pattern, or blocks are
        compiled."""
        refuse_compiled(model)
        course, layers = Course(steps), chosen(model, self.every)
        with ExitStack() as stack:
            step_done = stack.enter_context(course.followed(model))
            for layer, every in layers:
                for method in METHODS:
                    if every > 1 and hasattr(layer, method):
                        output = Output(course, every, self.between)
                        stack.enter_context(replaced(layer, method, partial(output.of, getattr(layer, method))))
            yield step_done


class Output:
    """What one layer gave last, in each sequence of calls: (step, tensor)."""

    def __init__(self, course: Course, every: int, between: tuple[float, float]) -> None:
        self.course, self.every, self.between = course, every, between
        self._made: dict[object, tuple[int, Tensor]] = {}

    def of(self, compute: Callable[..., Tensor], h: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output for h, or that of a step before."""
        if not self.course.within(*self.between):
            self._made.clear()
            return compute(h, *args, **kwargs)
        key = (self.course.caller, h.shape)
        if key in self._made and 0 < self.course.step - self._made[key][0] < self.every:
            return self._made[key][1]
        self._made[key] = (self.course.step, compute(h, *args, **kwargs))
        return self._made[key][1]


def chosen(model: nn.Module, every: Mapping[str, int]) -> list[tuple[nn.Module, int]]:
    """Modules that a pattern fits, with the number of the first one. Raises: UserError, when there is none."""
    found = []
    for name, module in model.named_modules():
        pattern = next((one for one in every if fnmatch(name, one)), None)
        if pattern is not None:
            found.append((module, every[pattern]))
    if not found:
        raise UserError(
            f"step_cache.every: no module of {type(model).__name__} is called {' or '.join(every)}; it has such as "
            f"{', '.join(_examples(model))}"
        )
    return found


def refuse_compiled(model: Any) -> None:
    """Raises: UserError, when a block is compiled: what is inside it is then no longer called."""
    if any(hasattr(block.forward, "_torchdynamo_orig_callable") for block in model.repeated_blocks()):
        raise UserError(
            "step_cache: pyramid-attention-broadcast stands in for layers inside the blocks, which compiled blocks do "
            "not call: set compile: false, or use timestep-distance"
        )


def _examples(model: Any) -> list[str]:
    block = model.repeated_blocks()[0]
    prefix = next(name for name, module in model.named_modules() if module is block)
    return [f"{prefix}.{name}" for name, _ in block.named_children()]


def build(options: BroadcastOptions, context: Context) -> PyramidAttentionBroadcast:
    """The cache; nothing of the run matters to it."""
    return PyramidAttentionBroadcast(options)
