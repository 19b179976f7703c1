"""What can be wrong with a bucket_config, each at the key it is written at."""

from collections.abc import Iterator, Mapping
from typing import Any

from vidgen.aspect import num_frames, resolution_names
from vidgen.errors import Problem, UserError, did_you_mean

from vidgen_bucket import BucketConfig, Keep, Tables
from vidgen_bucket.levels import ratio_key

EXAMPLE = "such as bucket_config: {240p: {1: [1.0, 16], 51: [0.5, 4]}}"


def problems(config: BucketConfig, tables: Tables) -> Iterator[Problem]:
    """All mistakes, paths from the options on."""
    for name, sizes in tables.items():
        yield from (problem.under(name).under("resolutions") for problem in _of_table(name, sizes))
    for problem in _of_config(config, [*resolution_names(), *tables]):
        yield problem.under("bucket_config")


def _of_table(name: str, sizes: list[tuple[int, int]]) -> Iterator[Problem]:
    if name in resolution_names():
        yield Problem((), "is the name of a built-in resolution", ("choose another name",), at_key=True)
    if not sizes:
        yield Problem((), "has no sizes", ("list at least one [rows, columns]",))
    for place, size in enumerate(sizes):
        if min(size) < 1:
            yield Problem((place,), f"rows and columns must be 1 or more, not {list(size)}")
    ratios = [ratio_key(size) for size in sizes if size[1] > 0]
    if len(set(ratios)) < len(ratios):
        yield Problem((), "has two sizes of one aspect ratio", ("a row could not tell which to take",))


def _of_config(config: BucketConfig, known: list[str]) -> Iterator[Problem]:
    if not config:
        yield Problem((), "has no buckets", (EXAMPLE,))
    for name, entries in config.items():
        if str(name) not in known:
            hints = (*did_you_mean(str(name), known), f"known: {', '.join(known)}")
            yield Problem((name,), f"there is no resolution {str(name)!r}", hints, at_key=True)
        if not entries:
            yield Problem((name,), "has no numbers of frames", (EXAMPLE,))
        yield from (problem.under(name) for problem in _of_resolution(entries))
    yield from _twice((), config, {name: str(name) for name in config})
    probabilities = [keep for entries in config.values() for keep, _ in entries.values()]
    if probabilities and not any(_highest(keep) for keep in probabilities):
        yield Problem((), "no bucket keeps any row: all probabilities are 0", (EXAMPLE,))


def _of_resolution(entries: Mapping[str | int, tuple[Keep, int | None]]) -> Iterator[Problem]:
    meant: dict[str | int, object] = {}
    for frames, (keep, batch_size) in entries.items():
        try:
            meant[frames] = num_frames(frames)
        except UserError as error:
            yield Problem((frames,), str(error), at_key=True)
            continue
        if num_frames(frames) < 1:
            yield Problem((frames,), f"a bucket has 1 frame or more, not {frames}", at_key=True)
        if num_frames(frames) == 1 and isinstance(keep, tuple):
            hint = "the second number decides whether a video tries this bucket before shorter ones; write [1.0, 16]"
            yield Problem((frames, 0), f"a pair {list(keep)}, where still images take one probability", (hint,))
        yield from (problem.under(frames) for problem in _of_entry(keep, batch_size))
    yield from _twice((), entries, meant)


def _of_entry(keep: Keep, batch_size: int | None) -> Iterator[Problem]:
    places = {(0, place): one for place, one in enumerate(keep)} if isinstance(keep, tuple) else {(0,): keep}
    for path, one in places.items():
        if not 0 <= one <= 1:
            yield Problem(path, f"a probability lies between 0 and 1, not {one}")
    if batch_size is None and _highest(keep) > 0:
        hint = "null goes with probability 0 alone: [0.0, null] keeps long videos out of shorter buckets"
        yield Problem((1,), "missing: a bucket that takes rows needs a batch size", (hint,))
    if batch_size is not None and batch_size < 1:
        yield Problem((1,), f"a batch size is 1 or more, not {batch_size}")


def _highest(keep: Keep) -> float:
    """The probability that a row that comes to a bucket is kept."""
    return keep[0] if isinstance(keep, tuple) else keep


def _twice(path: tuple[str | int, ...], written: Any, meant: Mapping[Any, object]) -> Iterator[Problem]:
    """Keys that mean the same, such as 51 and 2s."""
    first: dict[object, object] = {}
    for key in written:
        if key in meant and first.setdefault(meant[key], key) != key:
            yield Problem((*path, key), f"means the same as {first[meant[key]]}", at_key=True)
