"""Throughput: samples and tokens a second, and the share of time spent waiting for data."""

import time


class Clock:
    """Counts since the last reading; the first reading starts when the clock is made."""

    def __init__(self) -> None:
        self._begin()

    def add(self, samples: int, tokens: int, waited: float) -> None:
        """Count one step; `waited` are the seconds it waited for its batches."""
        self._samples += samples
        self._tokens += tokens
        self._waited += waited

    def read(self) -> dict[str, float]:
        """`samples_per_s`, `tokens_per_s`, `data_wait` (0 to 1); starts anew."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        rates = {
            "samples_per_s": self._samples / seconds,
            "tokens_per_s": self._tokens / seconds,
            "data_wait": self._waited / seconds,
        }
        self._begin()
        return rates

    def _begin(self) -> None:
        self._since, self._samples, self._tokens, self._waited = time.perf_counter(), 0, 0, 0.0
