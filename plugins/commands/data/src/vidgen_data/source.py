"""Reading tables: Parquet and CSV batch by batch, JSON lines at once; always as Arrow, never as Python objects."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from vidgen.errors import UserError, did_you_mean

SUFFIXES = (".parquet", ".csv", ".jsonl")
TEXTS = ("path", "text", "id")
BLANKS = ["", "nan", "NaN", "NAN", "null", "NULL", "None", "none", "NA", "N/A", "#N/A"]
BATCH = 1 << 16
BLOCK = 8 << 20
JSON_BLOCK = 32 << 20
WIDER = {pa.null(): pa.int64(), pa.bool_(): pa.string(), pa.int64(): pa.float64(), pa.float64(): pa.string()}
"""What a column of a CSV file becomes when a value does not fit what the values before it looked like."""


class Source(Protocol):
    """A table on disk. path: of its file. schema: its columns. num_rows: how many there are."""

    path: Path
    schema: pa.Schema
    num_rows: int

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows in order, of `columns` alone where they are given."""
        ...


def open_source(path: Path) -> Source:
    """The table in a file. Raises: UserError, when there is no such file or it is no table."""
    kinds: dict[str, Callable[[Path], Source]] = {".parquet": ParquetSource, ".csv": CsvSource, ".jsonl": JsonSource}
    check_suffix(path)
    if not path.is_file():
        raise UserError(f"{path}: {'is a folder, not a table' if path.is_dir() else 'no such file'}")
    try:
        source = kinds[path.suffix.lower()](path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a table: {error}") from error
    twice = [name for name, count in Counter(source.schema.names).items() if count > 1]
    if twice:
        raise UserError(f"{path} has the column {twice[0]!r} twice. Rename one of them.")
    return source


def check_suffix(path: Path) -> None:
    """Raises: UserError, when a file's name ends like that of no table."""
    if path.suffix.lower() not in SUFFIXES:
        given = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise UserError(f"{path}: a table's name ends in {', '.join(SUFFIXES)}, and this one {given}")


def check_column(source: Source, name: str) -> None:
    """Raises: UserError, when a table lacks a column."""
    if name not in source.schema.names:
        hints = did_you_mean(name, source.schema.names)
        raise UserError("\n    ".join([f"{source.path} has no column {name!r}", *hints]))


class ParquetSource:
    """A Parquet file. Columns that are stored as codes of a dictionary are given as plain ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = pa.parquet.ParquetFile(path, pre_buffer=False)
        self.schema = _plain(self._file.schema_arrow)
        self.num_rows = self._file.metadata.num_rows

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """See `Source`. Raises: UserError, when the file is damaged."""
        names = self.schema.names if columns is None else list(columns)
        schema = pa.schema([self.schema.field(name) for name in names])
        try:
            for batch in self._file.iter_batches(BATCH, columns=names):
                yield batch.select(names).cast(schema)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{self.path} is damaged: {error}") from error


class CsvSource:
    """A CSV file with a header, in UTF-8.

    The types of its columns are found by going through the whole file once: the first rows may mislead. Texts stay as
    they are; in columns of numbers, empty fields and words such as `nan` are missing values.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.schema, self.num_rows = self._survey()

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """See `Source`."""
        names = self.schema.names if columns is None else list(columns)
        types = {name: self.schema.field(name).type for name in names}
        with self._open(types, names) as reader:
            yield from (batch for batch in reader if batch.num_rows)

    def _survey(self) -> tuple[pa.Schema, int]:
        """Columns with the narrowest types that hold all values, and the number of rows."""
        types: dict[str, pa.DataType] = dict.fromkeys(TEXTS, pa.string())
        while True:
            with self._open(types) as reader:
                names = reader.schema.names
                types = {field.name: _of_csv(field.type) for field in reader.schema}
                if types != {field.name: field.type for field in reader.schema}:
                    continue
                try:
                    return reader.schema, sum(batch.num_rows for batch in reader)
                except pa.ArrowInvalid as error:
                    column = _misfit(error, names)
                    if column is None or types[column] not in WIDER:
                        raise
                    types[column] = WIDER[types[column]]

    def _open(self, types: Mapping[str, pa.DataType], names: Sequence[str] = ()) -> pa.csv.CSVStreamingReader:
        convert = pa.csv.ConvertOptions(column_types=types, null_values=BLANKS, include_columns=list(names))
        parse = pa.csv.ParseOptions(newlines_in_values=True)
        read = pa.csv.ReadOptions(block_size=BLOCK, use_threads=False)
        return pa.csv.open_csv(self.path, read_options=read, parse_options=parse, convert_options=convert)


class JsonSource:
    """A file of JSON lines; held in memory as an Arrow table, since its columns are known only at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        texts = pa.schema([(name, pa.string()) for name in TEXTS])
        parse = pa.json.ParseOptions(explicit_schema=texts, newlines_in_values=False)
        table = pa.json.read_json(path, pa.json.ReadOptions(block_size=JSON_BLOCK), parse)
        absent = [name for name in TEXTS if table.column(name).null_count == table.num_rows]
        self._table = table.drop_columns(absent)
        self.schema, self.num_rows = self._table.schema, self._table.num_rows

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """See `Source`."""
        chosen = self._table if columns is None else self._table.select(list(columns))
        yield from chosen.to_batches(max_chunksize=BATCH)


def _plain(schema: pa.Schema) -> pa.Schema:
    plain = {pa.large_string(): pa.string(), pa.string_view(): pa.string()}
    types = [one.value_type if pa.types.is_dictionary(one) else one for one in schema.types]
    return pa.schema([(name, plain.get(one, one)) for name, one in zip(schema.names, types, strict=True)])


def _of_csv(kind: pa.DataType) -> pa.DataType:
    """Dates and times stay the texts they are written as."""
    return kind if kind in WIDER else pa.string()


def _misfit(error: pa.ArrowInvalid, names: Sequence[str]) -> str | None:
    """The column that a value does not fit, if that is what is wrong."""
    found = re.search(r"CSV column #(\d+): (?:Row #\d+: )?CSV conversion error", str(error))
    return names[int(found[1])] if found else None
