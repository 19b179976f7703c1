"""Values that remember where they were written."""

from collections.abc import Mapping
from typing import Any


class Placed(dict[Any, Any]):
    """A mapping of a configuration. places: key -> `file:line:column` of its value."""

    def __init__(self, values: Mapping[Any, Any], places: Mapping[Any, str]) -> None:
        super().__init__(values)
        self.places = dict(places)

    def over(self, base: "Placed") -> "Placed":
        """This mapping laid over another one: mappings merge, except where `_delete_` is set; the rest is replaced.

        Source: the rule of MMEngine's `_base_`.
        """
        if self.get("_delete_"):
            return self.without("_delete_")
        merged = Placed(base, base.places)
        for key, value in self.items():
            old = base.get(key)
            merges = isinstance(value, Placed) and isinstance(old, Placed)
            merged[key] = value.over(old) if merges else value
            merged.places[key] = self.places.get(key, "")
        return merged

    def without(self, *keys: Any) -> "Placed":
        """The same without some keys."""
        return Placed({key: value for key, value in self.items() if key not in keys}, self.places)
