"""Names for sizes, as Open-Sora has them: `240p` with `9:16` is 240 rows and 426 columns, `4s` is 102 frames.

A resolution stands for a nominal number of pixels and an ordered table of sizes, one for each aspect ratio. Ratios are
height / width: `9:16` is landscape, `16:9` portrait. The tables (aspect.json) are those of Open-Sora 1.2.0; what 1.1.0
has of them is the same. Read when first asked for.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from attrs import frozen

from vidgen.errors import UserError, did_you_mean

TABLES = Path(__file__).with_name("aspect.json")
REFERENCE = "reference"
"""In place of a ratio's name: the one nearest to that of what a sample is given."""


@frozen(kw_only=True)
class Resolution:
    """name: such as `240p`. pixels: nominal, of one frame. sizes: ratio key (height / width as text) -> (rows, columns)
    in pixels, in an order that decides ties."""

    name: str
    pixels: int
    sizes: Mapping[str, tuple[int, int]]

    def closest_ratio(self, height: float, width: float) -> str:
        """The key nearest to height / width; of equally near ones the first."""
        ratio = height / width
        return min(self.sizes, key=lambda key: abs(float(key) - ratio))

    def closest_size(self, height: float, width: float) -> tuple[int, int]:
        """The size, (rows, columns), of that ratio."""
        return self.sizes[self.closest_ratio(height, width)]


def resolution_names() -> tuple[str, ...]:
    """All resolutions, from few pixels to many."""
    return tuple(_resolutions())


def resolution(name: str | int) -> Resolution:
    """The table behind a name; `256` may be a number. Raises: UserError, with the nearest names."""
    found = _resolutions().get(str(name))
    if found is None:
        raise UserError(_unknown("resolution", name, resolution_names()))
    return found


def aspect_ratio_names() -> tuple[str, ...]:
    """The ratios with a name, height : width, from wide to tall."""
    return tuple(_tables()["aspect_ratio_names"])


def image_size(name: str | int, aspect_ratio: str) -> tuple[int, int]:
    """Rows and columns of a resolution at a named aspect ratio, such as `9:16`.

    Raises: UserError, when either is unknown, or the resolution has no such ratio: those whose name is a plain number
    have few of the named ones.
    """
    table, names = resolution(name), _tables()["aspect_ratio_names"]
    if aspect_ratio not in names:
        raise UserError(_unknown("aspect_ratio", aspect_ratio, names))
    size = table.sizes.get(names[aspect_ratio])
    if size is None:
        there = [ratio for ratio, key in names.items() if key in table.sizes]
        raise UserError(
            f"aspect_ratio: {table.name} has no {aspect_ratio}\n"
            f"    it has {', '.join(there) or 'none of the named ratios'}; resolutions such as 240p have all of them; "
            "or set image_size: [rows, columns] instead"
        )
    return size


def num_frames(value: str | float) -> int:
    """Frames behind a name (`2x`, `4s`: 51 frames are 2 seconds), or a whole number, also as text. What follows a
    number's decimal point is cut off. Raises: UserError, for any other text."""
    names: Mapping[str, int] = _tables()["num_frames_names"]
    try:
        return names[value] if value in names else int(value)  # type: ignore[index]
    except (ValueError, TypeError, OverflowError):
        raise UserError(f"num_frames: {value!r} is neither a whole number nor one of {', '.join(names)}") from None


def _unknown(what: str, given: object, known: Any) -> str:
    near = [hint for hint in did_you_mean(str(given), known) if not hint.startswith("known")]
    hints = "".join(f"\n    {hint}" for hint in (*near, f"known: {', '.join(known)}"))
    return f"{what}: there is no {str(given)!r}{hints}"


@cache
def _tables() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(TABLES.read_text(encoding="utf-8"))
    return found


@cache
def _resolutions() -> Mapping[str, Resolution]:
    return {
        name: Resolution(
            name=name,
            pixels=entry["pixels"],
            sizes={key: (rows, columns) for key, (rows, columns) in entry["sizes"].items()},
        )
        for name, entry in _tables()["resolutions"].items()
    }
