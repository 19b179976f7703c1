"""Tables of samples: CSV, Parquet or JSON lines to Arrow, checked column by column.

Open-Sora's columns are path, text, num_frames, height, width, aspect_ratio, fps, resolution and more; those that vidgen
uses are kept, all others are left in the file. Rows never become Python objects: ten million of them take about as much
memory as their text.
"""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from vidgen.errors import UserError, did_you_mean

TEXTS = ("path", "text")
COUNTS = ("num_frames", "height", "width")
NUMBERS = (*COUNTS, "fps")
SHAPES = ("resolution", "aspect_ratio")
"""Rows times columns, and rows over columns: another way to write a size."""
READ = TEXTS + NUMBERS + SHAPES
BLANKS = ["", "nan", "NaN", "NAN", "null", "NULL", "None", "none", "NA", "N/A", "#N/A"]
BLOCK = 16 << 20
EXPECTED = (
    "expected: a table (CSV with a header, in UTF-8; Parquet; JSON lines) with a column path, for training a column "
    f"text, and where known {', '.join(NUMBERS + SHAPES)}"
)


def read_table(data_path: Path) -> pa.Table:
    """The columns of a table file that vidgen knows, in a fixed order and with fixed types: path, text (string),
    num_frames, height, width (int32), fps (float64).

    height and width are worked out of resolution (pixels) and aspect_ratio (height / width) where only these are there.
    Numbers that cannot be (NaN, infinite, zero, negative) become null. Texts that are null become empty.
    Raises: UserError naming the file, when it cannot be read as a table, has no column `path`, a column twice, no rows
    or a row without a path.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_json}
    reader = readers.get(data_path.suffix.lower())
    if reader is None:
        raise _refused(data_path, f"its name ends in neither of {', '.join(readers)}")
    try:
        raw = reader(data_path)
        table = pa.table({name: _clean(name, raw.column(name)) for name in READ if name in raw.column_names})
        table.validate(full=True)  # texts of JSON lines and Parquet that are no UTF-8
    except (pa.ArrowException, OSError, csv.Error, UnicodeDecodeError) as error:
        raise _refused(data_path, str(error)) from error
    _check_rows(data_path, table)
    return _sized(table)


def check_inside(data_path: Path, table: pa.Table, root: Path) -> None:
    """Refuse paths that lead out of `root`. Raises: UserError naming the first such row.

    Links below the root are followed wherever they lead: whoever laid them there meant it.
    """
    paths = table.column("path")
    climbing = pc.match_substring(paths, "..")
    absolute = pc.and_(pc.starts_with(paths, "/"), pc.invert(pc.starts_with(paths, f"{root}/".replace("//", "/"))))
    suspects = pc.indices_nonzero(pc.or_(climbing, absolute))
    for row in suspects:
        path = paths[row.as_py()].as_py()
        if not media_path(root, path).is_relative_to(root):
            raise UserError(
                f"{data_path}: row {row} (counting from 0): the path {path!r} leads out of {root}, which is the folder "
                "that all media must be under. Correct the path, or set `root` to a folder that holds all of them."
            )


def media_path(root: Path, path: str) -> Path:
    """Where a row's file is; `..` is resolved in the text, links are not looked at."""
    return Path(os.path.normpath(root / path))


def _refused(data_path: Path, reason: str) -> UserError:
    return UserError(f"{data_path} cannot be read as a table of samples: {reason}\n    {EXPECTED}")


def _known(data_path: Path, names: Sequence[str]) -> list[str]:
    """The columns to read. Raises: UserError when one is there twice or `path` is missing."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise _refused(data_path, f"it has the column {twice[0]!r} twice")
    if "path" not in names:
        hints = "; ".join(did_you_mean("path", names))
        raise _refused(data_path, f"it has no column 'path' ({hints})" if names else "it has no columns")
    return [name for name in READ if name in names]


def _read_csv(data_path: Path) -> pa.Table:
    with data_path.open(newline="", encoding="utf-8-sig") as file:
        header = next(csv.reader(file), [])
    known = _known(data_path, header)
    convert = pa.csv.ConvertOptions(
        include_columns=known,
        column_types={name: pa.string() if name in TEXTS else pa.float64() for name in known},
        null_values=BLANKS,
    )
    parse = pa.csv.ParseOptions(newlines_in_values=True)

    def read(threads: bool) -> pa.Table:
        options = pa.csv.ReadOptions(use_threads=threads, block_size=BLOCK)
        return pa.csv.read_csv(data_path, read_options=options, parse_options=parse, convert_options=convert)

    try:
        return read(threads=True)
    except pa.ArrowInvalid:
        return read(threads=False)  # one thread knows the number of the line that is wrong


def _read_parquet(data_path: Path) -> pa.Table:
    with pa.parquet.ParquetFile(data_path, memory_map=True) as file:
        return file.read(columns=_known(data_path, file.schema_arrow.names))


def _read_json(data_path: Path) -> pa.Table:
    fields = [(name, pa.string()) for name in TEXTS] + [(name, pa.float64()) for name in NUMBERS + SHAPES]
    parse = pa.json.ParseOptions(explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore")
    options = pa.json.ReadOptions(block_size=BLOCK)
    table = pa.json.read_json(data_path, read_options=options, parse_options=parse)
    present = [name for name in table.column_names if table.column(name).null_count < table.num_rows]
    return table.select(_known(data_path, present))


def _clean(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if name in TEXTS:
        return pc.fill_null(column.cast(pa.string()), "")
    numbers = column.cast(pa.float64(), safe=False)
    possible = pc.and_(pc.is_finite(numbers), pc.and_(pc.greater(numbers, 0), pc.less(numbers, 2**31)))
    kept = pc.if_else(possible, numbers, pa.scalar(None, pa.float64()))
    return pc.round(kept).cast(pa.int32()) if name in COUNTS else kept


def _sized(table: pa.Table) -> pa.Table:
    """The table without the columns of shapes, and with the sizes that follow from them where it has none."""
    rest = table.select([name for name in TEXTS + NUMBERS if name in table.column_names])
    if not set(SHAPES) <= set(table.column_names):
        return rest
    pixels, ratio = (table.column(name) for name in SHAPES)
    sizes = {"height": pc.sqrt(pc.multiply(pixels, ratio)), "width": pc.sqrt(pc.divide(pixels, ratio))}
    for name, found in sizes.items():
        found = _clean(name, found)
        values = pc.coalesce(rest.column(name), found) if name in rest.column_names else found
        rest = rest.drop_columns([name] if name in rest.column_names else []).append_column(name, values)
    return rest.select([name for name in TEXTS + NUMBERS if name in rest.column_names])


def _check_rows(data_path: Path, table: pa.Table) -> None:
    if table.num_rows == 0:
        raise _refused(data_path, "it has no rows")
    empty = pc.index(pc.equal(table.column("path"), ""), True).as_py()
    if empty >= 0:
        raise _refused(data_path, f"row {empty} (counting from 0) has no path")
