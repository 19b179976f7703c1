"""Which rows of a table are kept: by a condition, without duplicates, as a sample, the first ones; in this order.

What needs to know other rows is worked out in a first pass over the columns it needs, for 9 to 40 bytes a row.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from attrs import frozen
from numpy.typing import NDArray

from vidgen_data.expression import Expression
from vidgen_data.hashing import Hashes, text_hashes
from vidgen_data.source import Source, check_column

Mask = NDArray[np.bool_]


@frozen(kw_only=True)
class Selection:
    """where: the condition. dedup: keep the first row of each value of this column; rows without one are all kept.
    sample: keep so many, drawn by their `path` and `seed`. limit: keep the first so many."""

    where: Expression | None = None
    dedup: str | None = None
    sample: int | None = None
    limit: int | None = None
    seed: int = 0

    def rows(self, source: Source, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows kept, in order, with these columns. Raises: UserError, when one is missing."""
        kept = self._kept(source)
        wanted, left, first = list(columns), self.limit, 0
        for batch in source.batches(self._read(source, wanted)):
            if left == 0:
                return
            mask = _chosen(self.where, batch) if kept is None else kept[first : first + batch.num_rows]
            first += batch.num_rows
            found = batch.filter(pa.array(mask)).select(wanted).slice(0, left)
            left = None if left is None else left - found.num_rows
            yield found

    def _kept(self, source: Source) -> Mask | None:
        """The rows that remain, where other rows decide that; None where each row decides for itself."""
        if self.dedup is None and self.sample is None:
            return None
        rows, first = source.num_rows, 0
        kept = np.zeros(rows, bool)
        keys = np.zeros(rows if self.dedup is not None else 0, np.uint64)
        draws = np.zeros(rows if self.sample is not None else 0, np.uint64)
        for batch in source.batches(self._read(source, [])):
            here = slice(first, first + batch.num_rows)
            kept[here] = _chosen(self.where, batch)
            if self.dedup is not None:
                keys[here] = text_hashes(batch.column(self.dedup).cast(pa.string()), "dedup")
            if self.sample is not None:
                draws[here] = text_hashes(batch.column("path"), "sample", self.seed)
            first += batch.num_rows
        if self.dedup is not None:
            kept = _first_of_each(keys, kept)
        return kept if self.sample is None else _smallest(draws, kept, self.sample)

    def _read(self, source: Source, columns: Sequence[str]) -> list[str]:
        """The columns wanted and those that decide. Raises: UserError, when one is missing."""
        deciding = [self.dedup] if self.dedup else []
        deciding += ["path"] if self.sample is not None else []
        for name in deciding:
            check_column(source, name)
        needed = {*columns, *deciding, *(self.where.columns if self.where else ())}
        return [name for name in source.schema.names if name in needed] or source.schema.names[:1]


def _chosen(where: Expression | None, batch: pa.RecordBatch) -> Mask:
    if where is None:
        return np.ones(batch.num_rows, bool)
    return pc.fill_null(where.mask(batch), False).to_numpy(zero_copy_only=False)


def _first_of_each(keys: Hashes, among: Mask) -> Mask:
    """Rows with a key that no row before has, and rows without a key."""
    nameless = keys == text_hashes(pa.array([""]), "dedup")
    kept = among & nameless
    order = np.argsort(keys, kind="stable")
    order = order[(among & ~nameless)[order]]
    ordered = keys[order]
    new = np.ones(len(order), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    kept[order[new]] = True
    return kept


def _smallest(draws: Hashes, among: Mask, count: int) -> Mask:
    places = np.flatnonzero(among)
    kept = np.zeros(len(among), bool)
    kept[places[np.argsort(draws[places], kind="stable")[:count]]] = True
    return kept
