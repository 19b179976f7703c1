"""Addresses of texts: 64-bit numbers that depend on a text and a seed alone.

So what a row is drawn for does not depend on where in a table it stands, nor on what else is in it.
"""

from hashlib import blake2b
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]


def text_hashes(column: pa.Array, purpose: str, seed: int = 0) -> Hashes:
    """A number for every value of a column, evenly spread over 64 bits, (rows,); equal values have equal ones, and of
    ten million different ones two coincide once in 300,000 tables. Missing values count as empty.

    purpose: up to 16 letters, tells draws of one seed apart.
    """
    texts = column.cast(pa.large_string())
    _, ends, data = texts.buffers()
    if data is None or not len(texts):
        nothing = _digest(b"", purpose, seed)
        return np.frombuffer(nothing * len(texts), np.uint64)
    first = texts.offset
    places = np.frombuffer(ends, np.int64, len(texts) + 1, first * 8).tolist()
    view, start = memoryview(data), blake2b(digest_size=8, salt=_salt(seed), person=purpose.encode())
    digests = bytearray()
    for begin, end in pairwise(places):
        one = start.copy()
        one.update(view[begin:end])
        digests += one.digest()
    return np.frombuffer(bytes(digests), np.uint64)


def _digest(text: bytes, purpose: str, seed: int) -> bytes:
    return blake2b(text, digest_size=8, salt=_salt(seed), person=purpose.encode()).digest()


def _salt(seed: int) -> bytes:
    return seed.to_bytes(16, "little", signed=True)
