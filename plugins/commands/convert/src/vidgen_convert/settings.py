"""Settings of another project, each with its place; what is still to be dealt with."""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

NOTHING: tuple[Any, ...] = (None, False, "", (), [])
"""Values that switch nothing on."""


@frozen
class Setting:
    """One key or flag. key: `model.type`, or `--lr`. place: where it was written, empty for a default."""

    key: str
    value: Any
    place: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether it switches nothing on."""
        return any(self.value is one or (self.value == one and type(self.value) is type(one)) for one in NOTHING)


class Settings:
    """Settings by key, in order."""

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        self._all = dict(settings)

    def __iter__(self) -> Iterator[Setting]:
        return iter(list(self._all.values()))

    def __contains__(self, key: str) -> bool:
        return key in self._all

    def value(self, key: str, default: Any = None) -> Any:
        """The value of a key; of one that is missing or None, the default."""
        found = self._all.get(key)
        return default if found is None or found.value is None else found.value

    def place(self, key: str) -> str:
        """Where a key was written."""
        return self._all[key].place if key in self._all else ""

    def has_section(self, name: str) -> bool:
        """Whether there are keys below `name`."""
        return any(key.startswith(f"{name}.") for key in self._all)

    def add_missing(self, defaults: Mapping[str, Any]) -> None:
        """Take the other project's defaults for keys that are missing or None."""
        for key, value in defaults.items():
            if self.value(key) is None:
                self._all[key] = Setting(key, value)

    def put(self, setting: Setting) -> None:
        """Add a setting, or replace the one of its key."""
        self._all[setting.key] = setting
