"""A recipe in the making, and all that is to be told about it."""

from collections.abc import Sequence
from typing import Any

from attrs import define, field, frozen

from vidgen_convert.settings import Setting


@frozen
class Lost:
    """A setting that is not in the recipe. why: what to do instead, or why nothing has to be done."""

    setting: Setting
    why: str

    def __str__(self) -> str:
        place = f"{self.setting.place}: " if self.setting.place else ""
        return f"{place}{self.setting.key} = {shown(self.setting.value)}: {self.why}"


@define
class Draft:
    """data: the recipe. notes: key path in it -> remarks. lost: settings without a counterpart; needless: those that
    vidgen does without a key; empty: those that say nothing."""

    data: dict[str, Any] = field(factory=dict)
    notes: dict[str, list[str]] = field(factory=dict)
    lost: list[Lost] = field(factory=list)
    needless: list[Lost] = field(factory=list)
    empty: list[Setting] = field(factory=list)

    def remark(self, text: str) -> None:
        """Add a remark on the whole."""
        self.note("job", text)

    def put(self, path: str, value: Any, note: str = "") -> None:
        """Set a key path such as `optimizer.lr`."""
        *above, last = path.split(".")
        inner = self.data
        for key in above:
            inner = inner.setdefault(key, {})
        inner[last] = plain(value)
        self.note(path, note)

    def get(self, path: str, default: Any = None) -> Any:
        """What a key path holds."""
        inner: Any = self.data
        for key in path.split("."):
            if not isinstance(inner, dict) or key not in inner:
                return default
            inner = inner[key]
        return inner

    def take(self, path: str) -> Any:
        """What a key path held, which it then does not; None without one."""
        above, _, last = path.rpartition(".")
        inner = self.get(above) if above else self.data
        return inner.pop(last, None) if isinstance(inner, dict) else None

    def note(self, path: str, text: str) -> None:
        """Add a remark at a key path."""
        told = self.notes.setdefault(path, [])
        if text and text not in told:
            told.append(text)

    def lose(self, setting: Setting, why: str) -> None:
        """Note a setting that has no counterpart."""
        self.lost.append(Lost(setting, why))

    def remarks(self) -> list[str]:
        """All remarks as `key: text`, in the order of the recipe."""
        order = list(self.data)
        paths = sorted(self.notes, key=lambda path: _rank(order, path))
        return [f"{path}: {text}" for path in paths for text in self.notes[path]]


def plain(value: Any) -> Any:
    """Tuples as lists, mappings as plain ones, all the way down."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def _rank(order: Sequence[str], path: str) -> int:
    top = path.partition(".")[0]
    return order.index(top) if top in order else len(order)


def shown(value: Any) -> str:
    """A value, cut short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
