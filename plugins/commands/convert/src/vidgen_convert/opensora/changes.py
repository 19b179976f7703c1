"""Values that recipes write in another way."""

from collections.abc import Mapping
from typing import Any


def frames(value: Any) -> Any:
    """A number of frames, also where it was written as text; names such as `4s` stay."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def size(value: Any) -> Any:
    """[rows, columns]; None where one of them is open."""
    return None if isinstance(value, list | tuple) and None in value else value


def texts(value: Any) -> Any:
    """A list of texts, empty ones in the place of None."""
    many = value if isinstance(value, list | tuple) else [value]
    return ["" if one is None else one for one in many]


def buckets(value: Any) -> Any:
    """Resolutions by their names here: `4K` is `4k`."""
    if not isinstance(value, Mapping):
        return value
    return {key.lower() if isinstance(key, str) else key: entries for key, entries in value.items()}


def resolution(value: Any) -> Any:
    """A resolution by its name here."""
    return str(value).lower()


def renamed(names: Mapping[str, str], value: Any) -> Any:
    """A name by what it is here; whatever has no other one, or is no name, stays."""
    return names.get(value, value) if isinstance(value, str) else value


def number(value: Any) -> Any:
    """A number with a fraction, also where it was written without one."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
