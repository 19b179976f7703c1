"""A table in several parts, each written at once while the table passes by."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vidgen_data.hashing import text_hashes
from vidgen_data.output import check_output, written
from vidgen_data.source import Source
from vidgen_data.terminal import progress

Places = NDArray[np.integer]


def write_parts(
    source: Source, outputs: Sequence[Path], place: Callable[[pa.RecordBatch, int], Places], *, force: bool
) -> list[int]:
    """Write every row to the one of `outputs` that `place` names; rows written to each.

    place: (batch, number of its first row) -> (rows,) places in `outputs`. Raises: UserError, RunError, as `written`.
    """
    counts, first = [0] * len(outputs), 0
    for output in outputs:
        check_output(output, force=force)
    with ExitStack() as stack:
        bar = stack.enter_context(progress())
        task = bar.add_task(source.path.name, total=source.num_rows)
        writers = [stack.enter_context(written(output, source.schema, force=force)) for output in outputs]
        for batch in source.batches():
            places = place(batch, first)
            for number in np.unique(places).tolist():
                part = batch.filter(pa.array(places == number))
                writers[number].write(part)
                counts[number] += part.num_rows
            first += batch.num_rows
            bar.update(task, completed=first)
    return counts


def by_share(column: str, share: float, seed: int) -> Callable[[pa.RecordBatch, int], Places]:
    """1 for a share of the rows, drawn by the text in `column` and the seed alone, else 0."""
    limit = np.uint64(min(int(share * 2**64), 2**64 - 1))

    def place(batch: pa.RecordBatch, first: int) -> Places:
        return (text_hashes(batch.column(column).cast(pa.string()), "split", seed) < limit).astype(np.int8)

    return place


def in_order(rows: int, parts: int) -> Callable[[pa.RecordBatch, int], Places]:
    """Neighbouring rows together, as many in each part, or one more."""

    def place(batch: pa.RecordBatch, first: int) -> Places:
        return np.arange(first, first + batch.num_rows) * parts // rows

    return place


def part_names(prefix: str, suffix: str, parts: int) -> list[Path]:
    """`PREFIX-00000-of-00008.parquet` and so on."""
    return [Path(f"{prefix}-{number:05d}-of-{parts:05d}{suffix}") for number in range(parts)]


def split_names(prefix: str, suffix: str) -> list[Path]:
    """`PREFIX_train.parquet` and `PREFIX_val.parquet`."""
    return [Path(f"{prefix}_{side}{suffix}") for side in ("train", "val")]


def listing(outputs: Iterable[Path], counts: Iterable[int]) -> list[str]:
    """Lines that say how many rows each file has."""
    return [f"{output}: {count:,} rows" for output, count in zip(outputs, counts, strict=True)]
