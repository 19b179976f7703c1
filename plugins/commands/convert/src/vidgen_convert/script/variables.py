"""Variables of a script, put into its words."""

import re
from collections.abc import Mapping

from attrs import frozen

VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")
SINGLE_QUOTED = re.compile(r"'[^']*'")
HIDDEN = (("$", "\ue000"), ("`", "\ue001"))
"""Characters that single quotes keep as they are, and what stands for them until words are filled."""
RUNS = re.compile(r"\$\(|`|\$\{[^}]*[^\w}:-]")
"""What would have to be run, or worked out: `$(...)`, backquotes, `${X%.*}`."""


class NotBound(Exception):
    """A variable without a value; its name."""


@frozen
class Variables:
    """Name -> value, as the script has bound them so far."""

    values: Mapping[str, str]

    def filled(self, word: str) -> str:
        """The word with its variables replaced. Raises: NotBound."""
        text = VARIABLE.sub(self._value, word)
        for character, mark in HIDDEN:
            text = text.replace(mark, character)
        return text

    def _value(self, found: "re.Match[str]") -> str:
        name, otherwise = found[1] or found[3], found[2]
        if name in self.values:
            return self.values[name]
        if otherwise is None:
            raise NotBound(name)
        return otherwise


def hide_quoted(text: str) -> str:
    """A line in which dollars and backquotes between single quotes are marked, because they stand for themselves."""
    marks = str.maketrans(dict(HIDDEN))  # type: ignore[arg-type]  # of two dict types that mypy tells apart
    return SINGLE_QUOTED.sub(lambda found: found[0].translate(marks), text)


def runs_something(word: str) -> bool:
    """Whether a value would have to be run, or worked out."""
    return bool(RUNS.search(word))
