"""Annotation files: a list of items, each a clip or an image with captions and sizes, in JSON or pickle."""

import json
import os
from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import pyarrow as pa
from vidgen.errors import UserError

from vidgen_opensora_plan_data.plain_pickle import NotPlain, load_plain
from vidgen_opensora_plan_data.sources import Source

SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "captions": pa.list_(pa.string()),
        "height": pa.float64(),
        "width": pa.float64(),
        "num_frames": pa.float64(),
        "fps": pa.float64(),
        "start": pa.float64(),
        "crop": pa.list_(pa.int32()),
        "aesthetic": pa.float64(),
        "source": pa.int32(),
        "item": pa.int32(),
    }
)
BATCH = 65536  # items in the form of columns at a time
LARGEST = 2**31 - 1
SHOWN = 60  # characters of a wrong value
EXPECTED = (
    "expected: a list of items with path, cap (a text or a list of texts), resolution {height, width} and, for videos, "
    "num_frames and fps"
)


def read_items(sources: Sequence[Source]) -> pa.Table:
    """All items of all sources, in order, as `SCHEMA`; what an item does not say is null.

    path: joined to the source's root. start: first frame of the clip, 0 unless it is cut. crop: x0, x1, y0, y1.
    source, item: places in `sources` and in its file, for messages.
    Raises: UserError naming file and item, for what is not as expected.
    """
    batches = []
    for number, source in enumerate(sources):
        items = _load(source.annotations)
        for first in range(0, len(items), BATCH):
            rows = list(_rows(items[first : first + BATCH], source, number, first))
            batches.append(_columns(rows, source.annotations))
    return pa.Table.from_batches(batches, schema=SCHEMA).combine_chunks()


def item_name(sources: Sequence[Source], items: pa.Table, row: int) -> str:
    """File and number of an item, for messages."""
    source, item = (items.column(name)[row].as_py() for name in ("source", "item"))
    return f"{sources[source].annotations}, item {item} (counting from 0)"


def _load(path: Path) -> list[Any]:
    readers = {".json": _load_json, ".pkl": load_plain}
    if path.suffix not in readers:
        raise _refused(path, f"its name ends in neither of {', '.join(readers)}")
    try:
        items = readers[path.suffix](path)
    except (OSError, ValueError, NotPlain, RecursionError) as error:
        raise _refused(path, str(error)) from error
    if not isinstance(items, list):
        raise _refused(path, f"it holds a {type(items).__name__}")
    return items


def _load_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8-sig"))


def _refused(path: Path, reason: str) -> UserError:
    return UserError(f"{path} cannot be read as annotations: {reason}\n    {EXPECTED}")


def _columns(rows: list[tuple[Any, ...]], path: Path) -> pa.RecordBatch:
    try:
        arrays = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)]
    except UnicodeEncodeError as error:
        raise _refused(path, f"a text in it is no Unicode: {error}") from error
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _rows(items: list[Any], source: Source, number: int, first: int) -> Iterator[tuple[Any, ...]]:
    """Items in the order of `SCHEMA`."""
    root = str(source.root).rstrip("/")
    for place, item in enumerate(items, first):
        try:
            yield *_row(item, root), number, place
        except _Wrong as wrong:
            raise UserError(f"{source.annotations}, item {place} (counting from 0): {wrong}\n    {EXPECTED}") from None


class _Wrong(Exception):
    """What is wrong with an item."""


def _row(item: Any, root: str) -> tuple[Any, ...]:
    if not isinstance(item, dict):
        raise _Wrong(f"{_shown(item)} is no item")
    size = item.get("resolution")
    if size is not None and not isinstance(size, dict):
        raise _Wrong(f"resolution is {_shown(size)}, not {{height, width}}")
    return (
        _path(item, root),
        _captions(item.get("cap")),
        None if size is None else _number(size, "height"),
        None if size is None else _number(size, "width"),
        _number(item, "num_frames"),
        _number(item, "fps"),
        _start(item.get("cut")),
        _crop(item.get("crop")),
        _number(item, "aesthetic" if item.get("aesthetic") is not None else "aes"),
    )


def _path(item: dict[str, Any], root: str) -> str:
    name = item.get("path")
    if not isinstance(name, str) or not name:
        raise _Wrong(f"path is {_shown(name)}, not the name of a file" if "path" in item else "it has no path")
    if name.startswith("/") or ".." in name:
        path = Path(os.path.normpath(Path(root or "/", name)))
        if not path.is_relative_to(root or "/"):
            raise _Wrong(
                f"the path {_shown(name)} leads out of {root}, the folder that the list of sources names for it"
            )
        return str(path)
    return f"{root}/{name}"


def _captions(cap: Any) -> list[str] | None:
    captions = [cap] if isinstance(cap, str) else cap
    if captions is not None and not (isinstance(captions, list | tuple) and all(isinstance(c, str) for c in captions)):
        raise _Wrong(f"cap is {_shown(cap)}, neither a text nor a list of texts")
    return None if captions is None else list(captions)


def _number(values: dict[str, Any], name: str) -> float | None:
    """NaN counts as missing: that is what tables of other programs write for it."""
    value = values.get(name)
    if value is None or (isinstance(value, float) and isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > LARGEST:
        raise _Wrong(f"{name} is {_shown(value)}, not a number of at most {LARGEST}")
    return float(value)


def _start(cut: Any) -> float:
    if cut is None:
        return 0.0
    start = _number({"cut": cut[0]}, "cut") if isinstance(cut, list | tuple) and cut else None
    if start is None or start < 0:
        raise _Wrong(f"cut is {_shown(cut)}, not [first frame, frame after the last]")
    return start


def _crop(crop: Any) -> list[int] | None:
    if crop is None:
        return None
    fits = isinstance(crop, list | tuple) and len(crop) == 4 and all(type(x) is int and 0 <= x <= LARGEST for x in crop)
    if not fits or crop[0] >= crop[1] or crop[2] >= crop[3]:
        raise _Wrong(f"crop is {_shown(crop)}, not [x0, x1, y0, y1] in whole pixels with x0 < x1 and y0 < y1")
    return list(crop)


def _shown(value: Any) -> str:
    """A value as it is written, no longer than a line takes."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
