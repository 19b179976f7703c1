"""What is being checked, and the comparisons that most checks need."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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

ROWS = (0, 1, 2)


class Subject:
    """A component on trial. values: options as a recipe gives them. modules: what registers it."""

    def __init__(
        self, kind: str, component: Component, values: Mapping[str, Any], context: Context, modules: tuple[str, ...]
    ) -> None:
        self.kind, self.component, self.values, self.context, self.modules = kind, component, values, context, modules

    @cached_property
    def one(self) -> Any:
        """The component, built once; checks share it and leave it as it was."""
        return self.build()

    def build(self, *, seed: int = 0, dry: bool = False, step: int = 0) -> Any:
        """A new one. seed: of the global generator meanwhile. dry: on the meta device. step: of a resumed run."""
        assert self.context.registry is not None
        selection = Selection(self.kind, self.component, self.structure(self.values))
        with seeded(seed), torch.device("meta" if dry else "cpu"):
            return self.context.registry.build(selection, evolve(self.context, load_weights=not dry, step=step))

    def structure(self, values: Mapping[str, Any]) -> Any:
        """Plain values as the component's options. Raises: RecipeError."""
        assert self.context.registry is not None
        try:
            return Structurer(self.context.registry, Path()).converter.structure(values, self.component.options)
        except Mistakes as mistakes:
            raise RecipeError(mistakes.problems) from None


class seeded(torch.random.fork_rng):  # noqa: N801
    """A known global generator for a while."""
