"""A bucket_config in the order in which rows walk through it."""

from collections.abc import Iterator, Sequence

from attrs import frozen
from vidgen.aspect import Resolution, num_frames, resolution
from vidgen.interfaces import Bucket

from vidgen_bucket import BucketConfig, Tables


@frozen(kw_only=True)
class Entry:
    """A number of frames at a resolution.

    keep: probability that a row that came here stays. use: probability that a video tries this entry before shorter
    ones; None where nothing is drawn for that. batch_size: of one rank; None where keep is 0. number: of this entry
    among all, in walking order; draws are made at it. first: place of its first bucket, that of the first aspect
    ratio, in `buckets`; -1 where keep is 0, for those have none.
    """

    frames: int
    keep: float
    use: float | None
    batch_size: int | None
    number: int
    first: int


@frozen(kw_only=True)
class Level:
    """A resolution and its entries, from many frames to few."""

    resolution: Resolution
    entries: tuple[Entry, ...]


def walk(config: BucketConfig, tables: Tables | None = None) -> tuple[Level, ...]:
    """Resolutions from many pixels to few; equal ones as configured. tables: further resolutions."""
    further = {name: custom_resolution(name, sizes) for name, sizes in (tables or {}).items()}
    found = [(further.get(str(name)) or resolution(name), entries) for name, entries in config.items()]
    levels, number, first = [], 0, 0
    for table, entries in sorted(found, key=lambda one: -one[0].pixels):
        made = []
        for frames, (keep, batch_size) in sorted(entries.items(), key=lambda one: -num_frames(one[0])):
            keep, use = keep if isinstance(keep, tuple) else (keep, None)
            entry = Entry(
                frames=num_frames(frames),
                keep=keep,
                use=use,
                batch_size=batch_size,
                number=number,
                first=first if keep else -1,
            )
            number, first = number + 1, first + (len(table.sizes) if keep else 0)
            made.append(entry)
        levels.append(Level(resolution=table, entries=tuple(made)))
    return tuple(levels)


def custom_resolution(name: str, sizes: Sequence[tuple[int, int]]) -> Resolution:
    """A table of a recipe's own; the first size says how many pixels are nominal."""
    rows, columns = sizes[0]
    return Resolution(name=name, pixels=rows * columns, sizes={ratio_key(size): size for size in sizes})


def ratio_key(size: tuple[int, int]) -> str:
    """Height / width as a table's key."""
    return f"{size[0] / size[1]:.4g}"


def buckets_of(levels: Sequence[Level]) -> tuple[Bucket, ...]:
    """All that can take rows, in the order of `Entry.first`."""
    return tuple(bucket for level in levels for entry in level.entries for bucket in _buckets(level, entry))


def _buckets(level: Level, entry: Entry) -> Iterator[Bucket]:
    if entry.batch_size is None or not entry.keep:
        return
    plural = "" if entry.frames == 1 else "s"
    for key, size in level.resolution.sizes.items():
        name = f"{level.resolution.name} {entry.frames} frame{plural} {key}"
        yield Bucket(name=name, num_frames=entry.frames, size=size, batch_size=entry.batch_size)
