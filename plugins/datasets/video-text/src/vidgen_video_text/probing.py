"""Sizes, lengths and rates that a table lacks, taken from the headers of the files."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from vidgen.errors import UserError
from vidgen_video.reader import Reader, Unreadable
from vidgen_video.still import SUFFIXES, is_still, still_size

from vidgen_video_text.metadata import COUNTS, NUMBERS, media_path

THREADS = 8
BATCH = 4096
STILL = f"(?i)({'|'.join(SUFFIXES).replace('.', '[.]')})$"

Facts = tuple[float, ...]
"""Frames, rows, columns, frames a second of one file; NaN where unknown."""

logger = logging.getLogger(__name__)


def with_media_facts(table: pa.Table, root: Path, reader: Reader, still_frames: int = 1) -> pa.Table:
    """The table with all of num_frames, height, width and fps.

    Only the files of rows that lack one are opened, and only their headers. What the table says is kept, but still
    images always have `still_frames` frames, and rate 0 where it says none. Files that cannot be read leave nulls and
    a warning.
    """
    table = _with_still_facts(table, still_frames)
    lacking = _lacking(table)
    if not len(lacking):
        return table
    logger.info("reading the headers of %d files, whose sizes or lengths the table lacks", len(lacking))
    facts = _probe_all(table.column("path"), lacking, root, reader)
    failed = int(np.isnan(facts).all(axis=1).sum())
    if failed:
        logger.warning("%d of %d files are missing or have no readable header", failed, len(lacking))
    for place, name in enumerate(NUMBERS):
        found = np.full(table.num_rows, np.nan)
        found[lacking] = facts[:, place]
        table = _fill(table, name, pa.array(found, from_pandas=True))
    return table


def check_known(data_path: Path, table: pa.Table, max_fraction: float) -> None:
    """Raises: UserError, when a greater share of a complete table's rows is without size or length."""
    unknown = _lacking(table, COUNTS)
    if len(unknown) > max_fraction * table.num_rows:
        example = table.column("path")[unknown[0]].as_py()
        raise UserError(
            f"{data_path}: size or length of {len(unknown)} of {table.num_rows} rows is unknown, as their files are "
            f"missing or cannot be read (first: row {unknown[0]}, counting from 0: {example}); max_unknown_fraction "
            f"allows a share of {max_fraction:g}. Look at the files or at `root`, leave such rows out, or allow more."
        )


def _with_still_facts(table: pa.Table, still_frames: int) -> pa.Table:
    still = pc.match_substring_regex(table.column("path"), STILL)
    for name in NUMBERS:
        known = {"num_frames": still_frames, "fps": 0}.get(name)
        value = pa.scalar(None if known is None else float(known), pa.float64())
        table = _fill(table, name, pc.if_else(still, value, pa.scalar(None, pa.float64())))
    frames = pc.if_else(still, pa.scalar(still_frames, pa.int32()), table.column("num_frames"))
    return table.set_column(table.column_names.index("num_frames"), "num_frames", frames)


def _fill(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The column `name`, added when it is missing, with `values` where it has nulls."""
    kind = pa.int32() if name in COUNTS else pa.float64()
    values = values.cast(kind)
    if name not in table.column_names:
        return table.append_column(name, values)
    filled = pc.coalesce(table.column(name), values)
    return table.set_column(table.column_names.index(name), name, filled)


def _lacking(table: pa.Table, names: Sequence[str] = NUMBERS) -> NDArray[np.int64]:
    """Rows with a null in any of the columns."""
    missing = pc.is_null(table.column(names[0]))
    for name in names[1:]:
        missing = pc.or_(missing, pc.is_null(table.column(name)))
    return np.flatnonzero(missing.to_numpy())


def _probe_all(paths: pa.ChunkedArray, rows: NDArray[np.int64], root: Path, reader: Reader) -> NDArray[np.float64]:
    """Facts of the files of `rows`, (rows, 4); batch by batch, so that their names are never all in memory."""
    facts = np.empty((len(rows), len(NUMBERS)))
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(rows), BATCH):
            names = paths.take(pa.array(rows[start : start + BATCH])).to_pylist()
            found = pool.map(lambda name: _facts(media_path(root, name), reader), names)
            facts[start : start + BATCH] = list(found)
    return facts


def _facts(path: Path, reader: Reader) -> Facts:
    try:
        if is_still(path):
            return (np.nan, *still_size(path), np.nan)
        probe = reader.probe(path)
    except Unreadable as error:
        logger.debug("%s: %s", path, error)
        return (np.nan,) * len(NUMBERS)
    return (probe.num_frames or np.nan, probe.height or np.nan, probe.width or np.nan, probe.fps or np.nan)
