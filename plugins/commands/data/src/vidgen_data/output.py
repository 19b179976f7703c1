"""Writing tables batch by batch: under another name first, so that a reader sees a whole table or none."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from vidgen.errors import RunError, UserError

from vidgen_data.source import check_suffix

ROW_GROUP = 1 << 17
JSON_ROWS = 1 << 12


class Writer(Protocol):
    """Takes batches of one schema."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def check_output(path: Path, *, force: bool) -> None:
    """Find out before the work starts that its result cannot be written.

    Raises: UserError, when the name is that of no table, and as `check_free`.
    """
    check_suffix(path)
    check_free(path, force=force)


def check_free(path: Path, *, force: bool) -> None:
    """Raises: UserError, when a file exists and `force` is not set, or its folder cannot be made or written to."""
    if path.is_dir():
        raise UserError(f"{path} is a folder. Name a file in it.")
    if path.exists() and not force:
        raise UserError(f"{path} exists. Choose another name, or replace it with --force.")
    with _side_file(path):
        pass


@contextmanager
def written(path: Path, schema: pa.Schema, *, force: bool) -> Iterator[Writer]:
    """A writer of the table `path`, by its ending; the file appears when all went well.

    Raises: UserError, as `check_output`, and for columns that the format cannot hold; RunError, when writing fails.
    """
    check_output(path, force=force)
    kinds: dict[str, Callable[[Path, pa.Schema], Writer]] = {
        ".parquet": ParquetWriter,
        ".csv": CsvWriter,
        ".jsonl": JsonWriter,
    }
    with _side_file(path) as side:
        try:
            writer = kinds[path.suffix.lower()](side, schema)
            yield writer
            writer.close()
            _flush(side)
        except pa.ArrowException as error:
            raise UserError(
                f"{path} cannot hold these columns: {error}\n    Try a name that ends in .parquet."
            ) from error
        except OSError as error:
            raise RunError(f"{path} could not be written: {error}") from error
        side.replace(path)


def write_page(path: Path, text: str, *, force: bool) -> None:
    """Write a text file, whole or not at all. Raises: UserError, as `check_free`; RunError, when writing fails."""
    check_free(path, force=force)
    with _side_file(path) as side:
        try:
            side.write_text(text, encoding="utf-8")
            _flush(side)
        except OSError as error:
            raise RunError(f"{path} could not be written: {error}") from error
        side.replace(path)


class ParquetWriter:
    """Parquet with zstd, in groups of many rows."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema, self._held = schema, list[pa.RecordBatch]()
        self._writer = pa.parquet.ParquetWriter(path, schema, compression="zstd")

    def write(self, batch: pa.RecordBatch) -> None:
        """See `Writer`."""
        self._held.append(batch)
        if sum(one.num_rows for one in self._held) >= ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """See `Writer`."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.Table.from_batches(self._held, self._schema))
        self._held = []


class CsvWriter:
    """CSV with a header; quotes where they are needed."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pa.csv.CSVWriter(path, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """See `Writer`."""
        self._writer.write_batch(batch)

    def close(self) -> None:
        """See `Writer`."""
        self._writer.close()


class JsonWriter:
    """JSON lines in UTF-8; missing values are left out."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, batch: pa.RecordBatch) -> None:
        """See `Writer`; a few thousand rows at a time are Python objects."""
        for start in range(0, batch.num_rows, JSON_ROWS):
            for row in batch.slice(start, JSON_ROWS).to_pylist():
                known = {key: value for key, value in row.items() if not _is_missing(value)}
                self._file.write(json.dumps(known, ensure_ascii=False, default=str) + "\n")

    def close(self) -> None:
        """See `Writer`."""
        self._file.close()


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN, which is no JSON


@contextmanager
def _side_file(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, removed afterwards unless it was renamed. Raises: UserError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}: {error.filename}") from error
    os.close(handle)
    side = Path(name)
    try:
        side.chmod(0o666 & ~_umask())
        yield side
    finally:
        side.unlink(missing_ok=True)


def _umask() -> int:
    """What new files of this process are denied; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
