"""What becomes of one key or flag of another project."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from attrs import frozen

Kind = Literal["key", "step", "none", "needless"]


@frozen(kw_only=True)
class Rule:
    """One row of a table.

    kind: `key`, the value goes to the key `target`; `step`, `target` is worked out from this and others; `none`, there
    is no counterpart; `needless`, nothing has to be said for the same effect.
    target: key path in a recipe; of a step, in words. change: of the value on its way. note: told whenever the rule is
    used; without a counterpart, what to do instead.
    """

    kind: Kind
    target: str = ""
    change: Callable[[Any], Any] | None = None
    note: str = ""


Table = Mapping[str, Rule]
"""Key or flag -> what becomes of it."""


def to(target: str, change: Callable[[Any], Any] | None = None, note: str = "") -> Rule:
    """The value goes to `target`, changed first."""
    return Rule(kind="key", target=target, change=change, note=note)


def step(target: str, note: str = "") -> Rule:
    """A step works `target` out."""
    return Rule(kind="step", target=target, note=note)


def none(instead: str) -> Rule:
    """There is no counterpart. instead: what to do, or why nothing is lost."""
    return Rule(kind="none", note=instead)


def needless(why: str) -> Rule:
    """Nothing has to be said. why: in words."""
    return Rule(kind="needless", note=why)


def same(*names: str, under: str = "") -> dict[str, Rule]:
    """Keys that have the same name in a recipe, below `under`."""
    return {name: to(f"{under}.{name}" if under else name) for name in names}
