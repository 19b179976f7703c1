"""Uniform numbers for many rows at once, each a pure function of (seed, epoch, what the row is, what is drawn).

A row is known by its path, else by its number: a table in another order, or split over workers, gives the same draws.
Each row has its own generator, SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
"""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from vidgen.rng import address

if TYPE_CHECKING:
    import pyarrow as pa

Words = NDArray[np.uint64]

ALL = 0xFFFFFFFFFFFFFFFF
STEP = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio
WORD = 8  # bytes


class RowDraws:
    """Draws for the rows of one table, or of a slice of it; see `vidgen_bucket.place.Uniforms`.

    table: rows; offset: the number of its first one.
    """

    def __init__(self, table: "pa.Table", *, seed: int, epoch: int, offset: int = 0) -> None:
        self._states = mix(row_keys(table, offset) ^ np.uint64(address(seed, "bucket", epoch)))

    def __call__(self, rows: NDArray[np.integer], number: int, draw: int) -> NDArray[np.float64]:
        """In [0, 1), (rows,). rows: places in the table. number: of an entry. draw: its first or second one, 0 or 1."""
        states = self._states[rows]
        states += np.uint64(STEP * (2 * number + draw + 1) & ALL)
        mix(states)
        states >>= np.uint64(11)
        return states * 2.0**-53


def row_keys(table: "pa.Table", offset: int = 0) -> Words:
    """A number for each row, made of its path; without paths, where it stands, which is `offset` for the first."""
    if "path" not in table.column_names:
        return np.arange(offset, offset + table.num_rows, dtype=np.uint64)
    return hash_texts(table.column("path"))


def hash_texts(texts: "pa.ChunkedArray") -> Words:
    """64 bits for each text, eight bytes at a time, on any machine the same. What is null counts as empty."""
    plain = pc.cast(texts.combine_chunks(), "large_string").fill_null("")
    starts = np.frombuffer(plain.buffers()[1], np.int64, len(plain) + 1, plain.offset * WORD)
    first, last = int(starts[0]), int(starts[-1])
    content = np.zeros(last - first + WORD, np.uint8)  # the last text can be read as whole words
    content[:-WORD] = np.frombuffer(plain.buffers()[2], np.uint8)[first:last] if last > first else 0
    return _hash_slices(content, starts[:-1] - first, np.diff(starts))


def _hash_slices(content: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Words:
    windows = np.ndarray((len(content) - WORD + 1,), "<u8", content, strides=(1,))
    hashes = mix(lengths.astype(np.uint64))
    longer = np.flatnonzero(lengths > 0)
    done = 0
    while len(longer):
        words = windows[starts[longer] + done].astype(np.uint64)
        spare = np.clip(WORD - (lengths[longer] - done), 0, WORD - 1).astype(np.uint64) * np.uint64(8)
        words &= np.uint64(ALL) >> spare  # little endian: the low bytes come first
        words ^= hashes[longer]
        words += np.uint64(STEP)
        hashes[longer] = mix(words)
        done += WORD
        longer = longer[lengths[longer] > done]
    return hashes


def mix(words: Words) -> Words:
    """SplitMix64's bijection, in place: every bit of the result depends on all bits. Returns `words`."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)
    return words
