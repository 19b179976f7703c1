"""Class labels, by number or by name.

Letters: B labels.
"""

from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as shortened

import torch
from torch import Tensor, nn
from vidgen.errors import UserError, did_you_mean
from vidgen.interfaces import Context

from vidgen_text import ClassesOptions
from vidgen_text.identity import identity


class Classes(nn.Module):
    """See `vidgen.interfaces.TextEncoder`; `y` are class numbers, hence a width of 0 and no mask.

    names: of the classes, in order; empty: labels are numbers alone.
    """

    width = 0
    max_length = 1
    home: Tensor

    def __init__(self, num_classes: int, names: Sequence[str]) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.names = {_plain(name): number for number, name in enumerate(names)}
        self.register_buffer("home", torch.empty(0), persistent=False)  # follows `.to`
        if names:
            self.register_buffer("identity", identity(name.encode() for name in self.names))

    def encode(self, texts: Sequence[str | int]) -> dict[str, Tensor]:
        """`y` (B,) int64, 0 to num_classes - 1. A text is a decimal number or a name; case and blanks around it do not
        count.

        Raises: UserError, naming the first text that is neither, with the nearest names.
        """
        numbers = [self._number(index, text) for index, text in enumerate(texts)]
        return {"y": torch.tensor(numbers, dtype=torch.int64, device=self.home.device)}

    def release(self) -> None:
        """There is nothing to give up."""

    def null(self, count: int) -> Tensor:
        """The label of "no class", num_classes, `count` times: (count,) int64. Models that drop labels know it."""
        return torch.full((count,), self.num_classes, dtype=torch.int64, device=self.home.device)

    def _number(self, index: int, text: str | int) -> int:
        number = _as_number(text)
        if number is None:
            number = self.names.get(_plain(str(text)), -1)
        if 0 <= number < self.num_classes:
            return number
        hints = did_you_mean(_plain(str(text)), self.names) if _as_number(text) is None else ()
        wanted = f"a number from 0 to {self.num_classes - 1}{', or a name' if self.names else ''}"
        raise UserError(
            "; ".join([f"{shortened(text)} (label {index} of those given) is no class: give {wanted}", *hints])
        )


def build(options: ClassesOptions, context: Context) -> Classes:
    """The encoder. Raises: UserError, when names and num_classes do not fit, or a name cannot be told from others."""
    names = options.names or []
    listed = names if isinstance(names, list) else _read(names)
    _check(listed, options.num_classes)
    return Classes(options.num_classes, listed)


def _read(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").strip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"names: {path} cannot be read as text in UTF-8: {error}") from error


def _check(names: Sequence[str], num_classes: int) -> None:
    if names and len(names) != num_classes:
        raise UserError(
            f"names: {len(names)} names, but num_classes is {num_classes}; give one name per class, in order"
        )
    seen: dict[str, int] = {}
    for number, name in enumerate(names):
        plain = _plain(name)
        if not plain:
            raise UserError(f"names: that of class {number} is empty")
        if plain in seen:
            raise UserError(f"names: {name!r} is class {seen[plain]} and class {number}; every class needs its own")
        if _as_number(name) not in (None, number):
            raise UserError(f"names: class {number} is called {name!r}, which as a label is a class number")
        seen[plain] = number


def _as_number(text: str | int) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _plain(name: str) -> str:
    return name.strip().lower()
