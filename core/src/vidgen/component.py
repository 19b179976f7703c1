"""What a plugin offers: components with typed, documented options.

Read by every plugin's `__init__`, so nothing here may import torch.
"""

from collections.abc import Mapping
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, NewType

import attrs
import pluggy

hookimpl = pluggy.HookimplMarker("vidgen")

InputPath = NewType("InputPath", Path)
"""A file or folder that must exist; looked for from the current folder, then from the recipe's."""


@attrs.frozen(kw_only=True)
class Component:
    """One thing a recipe can name.

    name: what stands behind `type:` (`STDiT-XL/2`).
    summary: one line for `vidgen plugins`.
    options: attrs class of the keys allowed beside `type:`; every field made with `option` (or `section`).
    factory: `"package.module:function"`, imported only when a recipe uses the component and called as
        `function(options, context)`.
    """

    name: str
    summary: str
    options: type
    factory: str = attrs.field(validator=attrs.validators.matches_re(r"[\w.]+:\w+"))


@attrs.frozen
class Selection:
    """A component chosen by a recipe, with its options filled in and checked."""

    kind: str
    component: Component
    options: Any

    @property
    def type(self) -> str:
        """The name the recipe used."""
        return self.component.name


def option(
    default: Any = attrs.NOTHING, doc: str = "", *, validator: Any = None, formerly: tuple[str, ...] = ()
) -> Any:
    """A field of an options class.

    default: the value when the recipe is silent; left out, the key is required. Lists and dicts are copied.
    doc: one sentence with units and range; shown by `vidgen show` and in the reference.
    validator: an attrs validator; its message is reported at the key's place in the recipe.
    formerly: names that the key had; recipes with them work, with a warning.
    """
    metadata = {"doc": doc, "formerly": formerly}
    if isinstance(default, list | dict):
        return attrs.field(factory=default.copy, validator=validator, metadata=metadata)
    return attrs.field(default=default, validator=validator, metadata=metadata)


def section(kind: str, default: Mapping[str, Any] | None = None, doc: str = "", *, optional: bool = False) -> Any:
    """A field that names a component of `kind`: a mapping with `type:` and that component's options.

    default: the mapping when the recipe is silent. `optional`: the section may be missing or null.
    """
    metadata = {"doc": doc, "kind": kind, "default": default}
    return attrs.field(default=None, metadata=metadata) if optional else attrs.field(metadata=metadata)


def sections(kind: str, default: list[Mapping[str, Any]] | None = None, doc: str = "") -> Any:
    """A field that holds a list of components of `kind`."""
    return attrs.field(metadata={"doc": doc, "kind": kind, "default": default or [], "many": True})


def preset(options: type, name: str, **defaults: Any) -> type:
    """`options` with other defaults: what a registered size is made of.

    Raises: TypeError, when a default names no field of `options`.
    """
    known = attrs.fields_dict(options)
    unknown = sorted(set(defaults) - set(known))
    if unknown:
        raise TypeError(f"{options.__name__} has no {', '.join(unknown)}")
    changed = {
        key: attrs.field(
            factory=partial(copy, value),
            type=known[key].type,
            validator=known[key].validator,
            metadata=dict(known[key].metadata),
        )
        for key, value in defaults.items()
    }
    # What compares and shows the fields is inherited: making it anew for each size would double the time of a start.
    return attrs.make_class(
        name, changed, bases=(options,), frozen=True, kw_only=True, slots=True, eq=False, repr=False
    )
