"""Words behind a program, as flags with values of the right type."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from vidgen_convert.refused import Fault
from vidgen_convert.rule import Rule
from vidgen_convert.script.lines import Word
from vidgen_convert.settings import Setting

Read = Callable[[str], Any]


@frozen
class Flag:
    """One flag of a program. read: from text to its value; None for a switch. many: takes several values."""

    rule: Rule
    read: Read | None = str
    many: bool = False


Flags = Mapping[str, Flag]
"""`--name` -> flag."""


def read_flags(words: Sequence[Word], flags: Flags) -> tuple[dict[str, Setting], list[Fault]]:
    """Settings by flag, of which the last one counts, and what is wrong with them."""
    settings: dict[str, Setting] = {}
    faults: list[Fault] = []
    for word, values in _groups(words):
        name, equals, inline = word.text.partition("=")
        given = [inline] if equals else [value.text for value in values]
        try:
            settings[name] = Setting(name, _value(name, given, flags), word.place)
        except ValueError as error:
            faults.append(Fault(word.place, str(error), "write it as the program would take it"))
    return settings, faults


def _groups(words: Sequence[Word]) -> Iterator[tuple[Word, list[Word]]]:
    """Flags with the words that follow them."""
    group: list[Word] = []
    for word in words:
        if word.text.startswith("--") and group:
            yield group[0], group[1:]
            group = []
        group.append(word)
    if group:
        yield group[0], group[1:]


def _value(name: str, given: Sequence[str], flags: Flags) -> Any:
    """Raises: ValueError, in words, when the flag does not take this."""
    flag = flags.get(name)
    if not name.startswith("--"):
        raise ValueError(f"{name!r} belongs to no flag")
    if flag is None:
        return True if not given else given[0] if len(given) == 1 else list(given)
    if flag.read is None:
        if given:
            raise ValueError(f"{name} is a switch and takes no value, but is given {given[0]!r}")
        return True
    if not given or (len(given) > 1 and not flag.many):
        raise ValueError(
            f"{name} takes {'values' if flag.many else 'one value'}, but is given {' '.join(given) or 'none'}"
        )
    values = [_read(name, text, flag.read) for text in given]
    return values if flag.many else values[0]


def _read(name: str, text: str, read: Read) -> Any:
    try:
        return read(text)
    except ValueError:
        raise ValueError(f"{name} is given {text!r}, where a number is wanted") from None
