"""What is being checked, and the comparisons that most checks need."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from attrs import evolve
from torch import Tensor

from vidgen.component import Component, Selection
from vidgen.errors import RecipeError, UserError
from vidgen.interfaces import Context
from vidgen.recipe.structure import Mistakes, Structurer
from vidgen.registry import Registry

ROWS = (0, 1, 2)


class Subject:
    """A component on trial. values: options as a recipe gives them. modules: what registers it."""

    def __init__(
        self, kind: str, component: Component, values: Mapping[str, Any], context: Context, modules: tuple[str, ...]
    ) -> None:
        assert isinstance(context.registry, Registry), "the kit checks options against installed plugins"
        self.kind, self.component, self.values, self.context, self.modules = kind, component, values, context, modules
        self._registry = context.registry

    @cached_property
    def one(self) -> Any:
        """The component, built once; checks share it and leave it as it was."""
        return self.build()

    def build(self, *, seed: int = 0, dry: bool = False, step: int = 0) -> Any:
        """A new one. seed: of the global generator meanwhile. dry: on the meta device. step: of a resumed run."""
        selection = Selection(self.kind, self.component, self.structure(self.values))
        with seeded(seed), torch.device("meta" if dry else "cpu"):
            return self._registry.build(selection, evolve(self.context, load_weights=not dry, step=step))

    def structure(self, values: Mapping[str, Any]) -> Any:
        """Plain values as the component's options. Raises: RecipeError."""
        try:
            return Structurer(self._registry, Path()).converter.structure(values, self.component.options)
        except Mistakes as mistakes:
            raise RecipeError(mistakes.problems) from None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A known global generator for a while."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def steady(what: str, run: Callable[[Sequence[int]], Tensor]) -> Iterator[str]:
    """Faults of a function of rows, which must give each row its own result, always the same, whatever else runs."""
    with seeded(1):
        first = run(ROWS)
    with seeded(2):
        again, alone = run(ROWS), run(ROWS[1:2])
    if not first.isfinite().all():
        yield f"{what}: not finite"
    elif not torch.equal(first, again):
        yield f"{what}: another one the second time; take random numbers from what is handed in, none from torch itself"
    elif not alike(alone, first[1:2]):
        yield f"{what}: a sample's is another one alone than in a batch; mix nothing across the first axis"


def alike(a: Tensor, b: Tensor, tolerance: float = 1e-4) -> bool:
    """Equal shapes, and values up to rounding."""
    a, b = a.detach().cpu().float(), b.detach().cpu().float()
    return a.shape == b.shape and bool((a - b).abs().max() <= tolerance * (1 + b.abs().max()))


def refused(call: Callable[[], Any]) -> bool:
    """Whether a call raises UserError."""
    try:
        call()
    except UserError:
        return True
    return False


def devices() -> list[torch.device]:
    """Where modules are tried: the CPU, and a GPU when there is one."""
    return [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
