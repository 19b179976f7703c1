"""Columns of one table put beside those of another, matched by a key.

The other table is held in memory as Arrow, sorted by the address of its keys; the first one passes by in batches.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from vidgen.errors import UserError

from vidgen_data.hashing import text_hashes
from vidgen_data.source import Source, check_column


class Join:
    """schema: of the result. taken: columns that come from `scores`. left: those that both have and that stay.
    matched: rows that had a partner, known when all have passed.

    Raises: UserError, when `on` or a named column is missing, or a key is twice in `scores`.
    """

    def __init__(self, source: Source, scores: Source, *, on: str, columns: Sequence[str] | None) -> None:
        check_column(source, on)
        check_column(scores, on)
        self._source, self._on, self.matched = source, on, 0
        self.taken = list(columns) if columns is not None else _new_columns(source, scores)
        for name in self.taken:
            check_column(scores, name)
        known = {on, *self.taken}
        self.left = [name for name in scores.schema.names if name in source.schema.names and name not in known]
        kept = [field for field in source.schema if field.name not in self.taken]
        self.schema = pa.schema([*kept, *(scores.schema.field(name) for name in self.taken)])
        schema = pa.schema([scores.schema.field(name) for name in (on, *self.taken)])
        self._table = pa.Table.from_batches(scores.batches(schema.names), schema)
        keys = self._keys(self._table.column(on))
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]
        self._check_unique(scores)

    def rows(self) -> Iterator[pa.RecordBatch]:
        """The rows of the first table, in order, with the columns taken."""
        for batch in self._source.batches():
            places = self._places(batch.column(self._on))
            self.matched += len(places) - places.null_count
            found = {name: self._table.column(name).take(places).combine_chunks() for name in self.taken}
            columns = [found[name] if name in found else batch.column(name) for name in self.schema.names]
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _places(self, column: pa.Array) -> pa.Array:
        """The row of the held table for each key, missing where there is none."""
        keys, count = self._keys(column), len(self._sorted)
        if not count:
            return pa.nulls(len(column), pa.int64())
        near = np.searchsorted(self._sorted, keys).clip(max=count - 1)
        missing = self._sorted[near] != keys
        missing |= pc.is_null(column).to_numpy(zero_copy_only=False)
        return pa.array(self._order[near], mask=missing)

    @staticmethod
    def _keys(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        nothing = np.empty(0, np.uint64)
        return np.concatenate([nothing, *(text_hashes(chunk.cast(pa.string()), "join") for chunk in chunks)])

    def _check_unique(self, scores: Source) -> None:
        twice = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        if len(twice):
            key = self._table.column(self._on)[int(self._order[twice[0]])].as_py()
            raise UserError(
                f"{scores.path} has {self._on} {key!r} in several rows, so it cannot be said which to take. Remove "
                f"duplicates first: vidgen data filter {scores.path} --dedup {self._on} -o OUT"
            )


def _new_columns(source: Source, scores: Source) -> list[str]:
    taken = [name for name in scores.schema.names if name not in source.schema.names]
    if not taken:
        names = ", ".join(scores.schema.names)
        hints = [f"its columns are {names}", "name those to take with --columns"]
        raise UserError("\n    ".join([f"{scores.path} has no column that {source.path} lacks", *hints]))
    return taken
