"""Pickles of plain data: lists, dicts, texts and numbers, and nothing that could run.

A pickle is a program. Whatever it may do beyond building plain values it does through names that it looks up; here
every look-up is refused.
"""

import pickle
from pathlib import Path
from typing import Any, NoReturn


class NotPlain(Exception):
    """A pickle holds something that is no plain data; the text says what, and what to do."""


class PlainUnpickler(pickle.Unpickler):
    """Builds lists, tuples, dicts, sets, texts, bytes, numbers, booleans and None."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Called for anything else. Raises: NotPlain."""
        if module.split(".")[0] in ("numpy", "pandas"):
            advice = "turn its values into Python's own first (`value.item()`, `array.tolist()`), or save it as JSON"
        else:
            advice = "nothing was run; save it again as lists, dicts, texts and numbers, or as JSON"
        raise NotPlain(f"it holds {module}.{name}, which is no plain data: {advice}")

    def persistent_load(self, pid: Any) -> NoReturn:
        """Called for references to things kept elsewhere. Raises: NotPlain."""
        raise NotPlain(f"it refers to {pid!r}, kept elsewhere: save it again as plain lists and dicts, or as JSON")


def load_plain(path: Path) -> Any:
    """What a pickle file holds. Raises: NotPlain; OSError; ValueError, when it is no pickle or a damaged one."""
    with path.open("rb") as file:
        try:
            return PlainUnpickler(file).load()
        except (NotPlain, OSError):
            raise
        except Exception as error:  # the bytes of a damaged pickle are any program: it may fail in any way
            raise ValueError(f"no pickle, or a damaged one ({type(error).__name__}: {error})") from error
