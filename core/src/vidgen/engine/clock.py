"""Throughput: samples and tokens a second, and the shares of time spent waiting for data and encoding them."""

import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Clock:
    """Counts since the last reading; the first reading starts when the clock is made."""

    def __init__(self) -> None:
        self._begin()

    def add(self, samples: int, tokens: int, waited: float, encoding: float) -> None:
        """Count one step; `waited` are the seconds it waited for its batches, `encoding` those of the encoders."""
        self._samples += samples
        self._tokens += tokens
        self._waited += waited
        self._encoding += encoding

    def read(self) -> dict[str, float]:
        """`samples_per_s`, `tokens_per_s`, `data_wait` and `encode_share` (0 to 1); starts anew."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        rates = {
            "samples_per_s": self._samples / seconds,
            "tokens_per_s": self._tokens / seconds,
            "data_wait": self._waited / seconds,
            "encode_share": self._encoding / seconds,
        }
        self._begin()
        return rates

    def _begin(self) -> None:
        self._since, self._samples, self._tokens = time.perf_counter(), 0, 0
        self._waited, self._encoding = 0.0, 0.0


class Awaited(Generic[T]):
    """What comes of `items`, and the seconds that were spent waiting for it."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items, self._seconds = iter(items), 0.0

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        begun = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self._seconds += time.perf_counter() - begun

    def seconds(self) -> float:
        """Since last asked."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds
