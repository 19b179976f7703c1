"""Which clip a sample is to be like."""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from attrs import frozen
from vidgen.errors import UserError

from vidgen_evaluate.clips import Clip, clips_of

REPEAT = re.compile(r"-\d+$")  # of several samples of one prompt
TABLES = (".csv", ".jsonl", ".parquet")


@frozen
class References:
    """Files by what they are found by: names without suffix, or prompts."""

    by: Literal["name", "prompt"]
    files: Mapping[str, tuple[Path, ...]]

    def of(self, clip: Clip) -> Path:
        """The one file that belongs to a clip. Raises: UserError, when there is none, or more than one."""
        keys = [clip.prompt.strip()] if self.by == "prompt" and clip.prompt else _names(clip)
        if self.by == "prompt" and not clip.prompt:
            raise UserError("no reference: it is found by the prompt, and there is none in the file's metadata")
        found = next((self.files[key] for key in keys if key in self.files), ())
        if not found:
            raise UserError(f"no reference of the {self.by} {keys[0]!r}")
        if len(found) > 1:
            raise UserError(f"{len(found)} references of the {self.by} {keys[0]!r}: {found[0]}, {found[1]}")
        return found[0]


def find_references(source: Path, by: Literal["name", "prompt"]) -> References:
    """References of a folder or table. Raises: UserError, when it cannot be read, or gives nothing to match."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path, keys in _of_folder(source, by) if source.is_dir() else _of_table(source, by):
        for key in keys:
            files[key].append(path)
    if not files:
        where = "no file has a prompt in its metadata" if source.is_dir() else "the table has no row"
        raise UserError(f"references: {source} gives nothing to match by {by}: {where}. Choose another one, or match.")
    return References(by, {key: tuple(dict.fromkeys(paths)) for key, paths in files.items()})


def _names(clip: Clip) -> list[str]:
    """Of the clip, from its whole path to its bare stem; of a repeat, also without its number."""
    whole = [clip.name, clip.path.stem]
    return list(dict.fromkeys([*whole, *(REPEAT.sub("", name) for name in whole)]))


def _of_folder(folder: Path, by: str) -> Iterator[tuple[Path, Iterable[str]]]:
    for clip in clips_of(folder, "references"):
        if by == "name":
            yield clip.path, {clip.name, clip.path.stem}
        elif clip.prompt:
            yield clip.path, {clip.prompt.strip()}


def _of_table(table: Path, by: str) -> Iterator[tuple[Path, Iterable[str]]]:
    for number, row in enumerate(_rows(table), start=1):
        wanted = ("path", "text") if by == "prompt" else ("path",)
        missing = [key for key in wanted if not isinstance(row.get(key), str) or not row[key]]
        if missing:
            has = ", ".join(map(str, row))
            raise UserError(f"references: row {number} of {table} has no {' and no '.join(missing)} (it has {has})")
        path = table.parent / row["path"]
        yield path, {path.stem} if by == "name" else {row["text"].strip()}


def _rows(table: Path) -> list[Mapping[str, Any]]:
    """Raises: UserError."""
    if table.suffix.lower() not in TABLES:
        raise UserError(f"references: {table} is neither a folder nor a table ({', '.join(TABLES)})")
    try:
        if table.suffix.lower() == ".parquet":
            return pq.read_table(table).to_pylist()
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file)) if table.suffix.lower() == ".csv" else [json.loads(one) for one in file]
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise UserError(f"references: {table} cannot be read as {table.suffix[1:]} ({error})") from error
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"references: {table}: every line must be a JSON object with `path` and `text`")
    return rows
