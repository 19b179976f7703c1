"""Errors as people read them: one paragraph, where, what, and what to do.

`UserError` and `RecipeError` are mistakes of the person at the terminal (exit status 2); `RunError` is something that
went wrong while running (exit status 1). The command line prints their text and no traceback. Mistakes of ours are
plain assertions.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from attrs import evolve, frozen


class VidgenError(Exception):
    """Base of every error vidgen raises on purpose. `exit_status` is what the command line returns."""

    exit_status = 1


class RunError(VidgenError):
    """A run could not go on: unreadable video, full disk, loss not finite, broken checkpoint."""


class UserError(VidgenError):
    """Something asked for cannot be: a missing file, a size that does not fit, a folder in use."""

    exit_status = 2


@frozen
class Problem:
    """One mistake in a recipe.

    path: keys from the top of the recipe to the value, such as `("model", "depth")`.
    text: what is wrong, naming the value received.
    hints: what would be accepted or what to do, one line each.
    place: `file:line:column`, filled in by the loader.
    at_key: the mistake is in the key itself, not in its value.
    """

    path: tuple[str | int, ...]
    text: str
    hints: tuple[str, ...] = ()
    place: str = ""
    at_key: bool = False

    def under(self, key: str | int) -> "Problem":
        """The same problem, seen from one level further up."""
        return evolve(self, path=(key, *self.path))

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        key = f"{key_path(self.path)}: " if self.path else ""
        return "\n".join([f"{where}{key}{self.text}", *(f"    {hint}" for hint in self.hints)])


class RecipeError(UserError):
    """Everything wrong with a recipe, all at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        plural = "" if count == 1 else "s"
        return "\n".join([*map(str, self.problems), f"{count} problem{plural}; nothing was started."])


def key_path(path: Iterable[str | int]) -> str:
    """`("model", "sizes", 0)` -> `model.sizes[0]`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def did_you_mean(given: str, known: Iterable[str]) -> tuple[str, ...]:
    """Hints for a misspelt name: the nearest known names, or the whole list when nothing is near."""
    names = sorted(set(known))
    lowered = {name.lower(): name for name in reversed(names)}
    near = get_close_matches(given.lower(), lowered, n=3, cutoff=0.6)
    if near:
        return (f"did you mean {' or '.join(lowered[name] for name in near)}?",)
    return (f"known: {', '.join(names)}",) if names else ()
