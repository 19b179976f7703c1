"""Prompts from files: text with one a line, CSV and JSONL with a column for each thing said of a prompt."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from vidgen.conditioning.prompts import Prompt
from vidgen.errors import UserError, did_you_mean

COLUMNS = tuple(field.name for field in attrs.fields(Prompt))
OTHER_NAMES = {"prompt": "text", "size": "image_size", "references": "reference_path"}
SIZE = re.compile(r"\D*(\d{1,6})\s*[x,; ]\s*(\d{1,6})\D*")

Row = tuple[int, Mapping[str, Any]]  # line, column -> value


def read_prompts(path: Path, start: int | None = None, end: int | None = None) -> list[Prompt]:
    """The prompts of a `.csv` or `.jsonl` file, or, of any other, one a line, stripped, empty lines kept.

    start, end: only those from place `start` to before `end`, as Python slices lists.

    Raises: UserError, with the line, for what cannot be read, an unknown column, a wrong value, an empty file.
    """
    text = _text(path)
    read = {".csv": _csv_rows, ".jsonl": _jsonl_rows}.get(path.suffix.lower())
    if read is None:
        prompts = [Prompt(text=line.strip()) for line in io.StringIO(text, newline=None)]
    else:
        prompts = [_prompt(path, line, row) for line, row in read(path, text)]
    if not prompts:
        raise UserError(f"{path} holds no prompt")
    return prompts[start:end]


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _wrong(path, line, "this is no UTF-8 text; save the file as UTF-8") from None


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_columns(path, 1, reader.fieldnames or ())
        for row in reader:
            if None in row:
                raise _wrong(path, reader.line_num, "more values than columns; put values with a comma in quotes")
            yield reader.line_num, {name: value for name, value in row.items() if value}
    except csv.Error as error:
        raise _wrong(path, reader.line_num, f"this is no CSV: {error}") from None


def _jsonl_rows(path: Path, text: str) -> Iterator[Row]:
    for line, written in enumerate(io.StringIO(text, newline=None), start=1):
        if not written.strip():
            continue
        try:
            row = json.loads(written)
        except (ValueError, RecursionError) as error:
            raise _wrong(path, line, f"this is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise _wrong(path, line, 'a mapping is wanted, such as {"text": "a lake", "seed": 1}')
        _check_columns(path, line, tuple(row))
        yield line, {name: value for name, value in row.items() if value is not None}


def _check_columns(path: Path, line: int, names: tuple[str, ...] | Any) -> None:
    known = {*COLUMNS, *OTHER_NAMES}
    found = [OTHER_NAMES.get(name, name) for name in names]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)[0] if isinstance(name, str) else "name every column"
            raise _wrong(path, line, f"there is no column {name!r}; {hint}\n    known: {', '.join(sorted(known))}")
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise _wrong(path, line, f"two columns are the {twice}; keep one")
    if "text" not in found:
        raise _wrong(path, line, "there is no column text or prompt")


def _prompt(path: Path, line: int, row: Mapping[str, Any]) -> Prompt:
    values: dict[str, Any] = {"text": ""}
    for name, value in row.items():
        column = OTHER_NAMES.get(name, name)
        read = READ.get(column, _words)
        try:
            values[column] = read(value)
        except (ValueError, OverflowError) as error:
            raise _wrong(path, line, f"{name} is {value!r}; {error} is wanted") from None
    _check_size(path, line, values)
    return Prompt(**values)


def _check_size(path: Path, line: int, values: Mapping[str, Any]) -> None:
    named = " and ".join(name for name in ("resolution", "aspect_ratio") if name in values)
    if "image_size" in values and named:
        raise _wrong(
            path, line, f"image_size stands beside {named}, and a sample has one size; leave one of them empty"
        )


def _words(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _name(value: Any) -> str:
    """`256` may be a resolution, and `1:1` an aspect ratio."""
    return _words(str(value) if type(value) is int else value).strip()


def _joined(value: Any) -> str:
    return ";".join(map(_words, value)) if isinstance(value, list) else _words(value)


def _seed(value: Any) -> int:
    return _number(value, int, "a whole number, 0 or more", lambda seed: seed >= 0)


def _fps(value: Any) -> float:
    return _number(value, float, "a number above 0", lambda fps: 0 < fps < float("inf"))


def _frames(value: Any) -> int | str:
    if isinstance(value, str) and not value.strip().isdecimal():
        return value.strip()
    return _number(value, int, "a number of frames, 1 or more, or a duration such as 4s", lambda frames: frames > 0)


def _number(value: Any, kind: type, wanted: str, fits: Callable[[Any], bool]) -> Any:
    """A number, or one written as text, as all is in CSV."""
    number = value
    if isinstance(value, str):
        try:
            number = kind(value)
        except ValueError:
            raise ValueError(wanted) from None
    if isinstance(number, bool) or not isinstance(number, int | kind) or not fits(number):
        raise ValueError(wanted)
    return kind(number)


def _size(value: Any) -> tuple[int, int]:
    """`[480, 854]`, or as text also `480x854`."""
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    size = [int(one) for one in found.groups()] if found else value
    if not (isinstance(size, list) and len(size) == 2 and all(type(one) is int and one > 0 for one in size)):
        raise ValueError("rows and columns in pixels, such as 480x854 or [480, 854],")
    return size[0], size[1]


READ: Mapping[str, Callable[[Any], Any]] = {
    "seed": _seed,
    "num_frames": _frames,
    "image_size": _size,
    "resolution": _name,
    "aspect_ratio": _name,
    "fps": _fps,
    "reference_path": _joined,
}


def _wrong(path: Path, line: int, what: str) -> UserError:
    return UserError(f"{path}:{line}: {what}")
