"""What is being checked, and the two comparisons that most checks need."""

from collections.abc import Callable, Iterator, Mapping
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


class Subject:
    """A component on trial. values: options as a recipe gives them. modules: what registers it."""

    def __init__(
        self, kind: str, component: Component, values: Mapping[str, Any], context: Context, modules: tuple[str, ...]
    ) -> None:
        self.kind, self.component, self.values, self.context, self.modules = kind, component, values, context, modules

    @property
    def registry(self) -> Registry:
        """All that is installed."""
        assert self.context.registry is not None
        return self.context.registry

    @cached_property
    def one(self) -> Any:
        """The component as built once; checks share it and leave it as it was."""
        return self.build()

    def build(self, *, seed: int = 0, dry: bool = False, step: int = 0) -> Any:
        """A new one. seed: of the global generator while it is made. dry: on the meta device, without weights."""
        context = evolve(self.context, load_weights=not dry, step=step)
        selection = Selection(self.kind, self.component, self.structure(self.values))
        with torch.random.fork_rng(devices=[]), torch.device("meta" if dry else "cpu"):
            torch.manual_seed(seed)
            return self.registry.build(selection, context)

    def structure(self, values: Mapping[str, Any]) -> Any:
        """Plain values as the component's options. Raises: RecipeError."""
        try:
            return Structurer(self.registry, Path()).converter.structure(values, self.component.options)
        except Mistakes as mistakes:
            raise RecipeError(mistakes.problems) from None


def declared(thing: Any, name: str, fits: Callable[[Any], bool], words: str) -> Iterator[str]:
    """A fault when an attribute is missing or not what `words` say."""
    value = getattr(thing, name, None)
    if value is None or not fits(value):
        yield f"`{name}` must be {words}, not {value!r}: set it on the object that the factory returns"


def count(value: Any) -> bool:
    """A whole number above 0."""
    return type(value) is int and value > 0


def size3(value: Any) -> bool:
    """Three whole numbers above 0."""
    return isinstance(value, tuple) and len(value) == 3 and all(map(count, value))


def alike(a: Tensor, b: Tensor, tolerance: float = 1e-4) -> bool:
    """Equal shapes, and values up to rounding."""
    if a.shape != b.shape:
        return False
    return bool((a.cpu().float() - b.cpu().float()).abs().max() <= tolerance * (1 + b.float().abs().max().cpu()))


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
