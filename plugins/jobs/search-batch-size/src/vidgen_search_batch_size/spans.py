"""Which batch sizes are to be tried for which bucket. Imports no torch."""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen
from vidgen.aspect import num_frames, resolution
from vidgen.interfaces import Size3

Key = tuple[str, int]
"""A bucket: name of the resolution, number of frames."""
Ranges = dict[str | int, dict[str | int, tuple[int, int]]]
"""Resolution -> number of frames -> guess and range, as a recipe writes it."""


@frozen(kw_only=True)
class Span:
    """The batch sizes guess - range to guess + range of one bucket, but 1 at least."""

    key: Key
    guess: int
    range: int

    @property
    def lower(self) -> int:
        """The smallest size."""
        return max(self.guess - self.range, 1)

    @property
    def upper(self) -> int:
        """The largest size."""
        return self.guess + self.range

    @property
    def name(self) -> str:
        """For people."""
        return bucket_name(self.key)


def spans_of(config: Ranges) -> tuple[Span, ...]:
    """As written, from top to bottom."""
    return tuple(
        Span(key=(str(name), num_frames(frames)), guess=guess, range=width)
        for name, entries in config.items()
        for frames, (guess, width) in entries.items()
    )


def entries_of(config: Mapping[Any, Mapping[Any, Any]]) -> Iterator[tuple[Key, tuple[Any, Any], Any]]:
    """Of any mapping of resolutions to numbers of frames: bucket, the two keys as written, what is there."""
    for name, entries in config.items():
        for frames, entry in entries.items():
            yield (str(name), num_frames(frames)), (name, frames), entry


def bucket_name(key: Key) -> str:
    """For people: `240p, 51 frames`."""
    return f"{key[0]}, {key[1]} frame{'' if key[1] == 1 else 's'}"


def clip_sizes(key: Key, tables: Mapping[str, list[tuple[int, int]]]) -> list[Size3]:
    """Clips of a bucket, (frames, rows, columns) in pixels, one for each aspect ratio. tables: resolutions of the
    recipe's own."""
    name, frames = key
    sizes = tables[name] if name in tables else resolution(name).sizes.values()
    return [(frames, rows, columns) for rows, columns in sizes]
