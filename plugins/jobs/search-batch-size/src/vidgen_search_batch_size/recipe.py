"""The recipe of `job: search-batch-size`, as typed options. All defaults live here. Imports no torch."""

from collections.abc import Iterator
from typing import Any, Literal

from attrs import fields_dict, frozen, validators
from vidgen import Problem, UserError, option
from vidgen.aspect import num_frames, resolution_names
from vidgen.errors import did_you_mean
from vidgen.recipe.schema import AT_LEAST_ONE, OPTIONAL_COUNT, POSITIVE, TrainRecipe

from vidgen_search_batch_size.spans import Key, Ranges, bucket_name, entries_of, spans_of

SEARCH = "search-batch-size"
EXAMPLE = "such as bucket_config: {240p: {1: [100, 100], 51: [24, 10]}}"


@frozen(kw_only=True)
class SearchOptions:
    """What is searched, where, and what for. Without `base_step_time` and `base`: the largest size that fits."""

    bucket_config: Ranges = option(
        doc="Resolution -> number of frames -> [guess, range]: sizes from guess - range to guess + range are searched; "
        "with a range of 0 the guess is taken as it is."
    )
    base_step_time: float | None = option(
        None, "Seconds that a step of every bucket may take.", validator=validators.optional(POSITIVE)
    )
    base: tuple[str | int, str | int | float] | None = option(
        None,
        "In the place of base_step_time: [resolution, number of frames] of a bucket whose step at the largest size "
        "that fits says the time for all; or [batch size, seconds] of a step that was measured before.",
    )
    resolution: str | int | None = option(None, "Search the buckets of this one alone, and the base; null: all.")
    warm_up_steps: int = option(5, "Steps before time is taken.", validator=AT_LEAST_ONE)
    steps: int = option(5, "Steps whose mean time counts.", validator=AT_LEAST_ONE)
    memory_limit_mb: int | None = option(
        None,
        "Megabytes (2**20 bytes) that training may take: of the GPU, or on a CPU of the process with all that is in "
        "it; null: all of the GPU, or nine tenths of what is free.",
        validator=OPTIONAL_COUNT,
    )
    algorithm: Literal["v1.2", "v1.1"] = option(
        "v1.2",
        "As in that version of Open-Sora. v1.2: halve the sizes; largest that fits and takes less than the time. v1.1: "
        "then also try every scan_step-th size; most clips a second, or nearest to the time, from above, too.",
    )
    scan_step: int = option(2, "Of v1.1: from one size to the next.", validator=AT_LEAST_ONE)

    def problems(self) -> Iterator[Problem]:
        """What is wrong within."""
        wrong = [problem.under("bucket_config") for problem in _wrong_ranges(self.bucket_config)]
        yield from wrong
        if wrong:
            return
        known = {span.key: span.name for span in spans_of(self.bucket_config)}
        if self.base is not None and self.base_bucket not in known and self.base_time is None:
            yield Problem(("base",), *_no_such_base(list(self.base), list(known.values())))
        if self.resolution is not None and str(self.resolution) not in {name for name, _ in known}:
            names = dict.fromkeys(name for name, _ in known)
            text = f"no bucket of {str(self.resolution)!r} is in search.bucket_config"
            yield Problem(("resolution",), text, did_you_mean(str(self.resolution), names))

    @property
    def base_bucket(self) -> Key | None:
        """The bucket that `base` names, if it names one."""
        if self.base is None or not self._names_resolution():
            return None
        try:
            return str(self.base[0]), num_frames(self.base[1])
        except UserError:
            return None

    @property
    def base_time(self) -> float | None:
        """The seconds that `base` says, if it says them."""
        if self.base is None or self._names_resolution():
            return None
        size, seconds = self.base
        return float(seconds) if isinstance(size, int) and isinstance(seconds, int | float) and seconds > 0 else None

    def _names_resolution(self) -> bool:
        """Batch sizes such as 256 are names of resolutions, too: those go before."""
        assert self.base is not None
        names = {*resolution_names(), *map(str, self.bucket_config)}
        return str(self.base[0]) in names


@frozen(kw_only=True)
class SearchRecipe(TrainRecipe):
    """`job: search-batch-size`: a training recipe, and beside it what is searched."""

    search: SearchOptions = option(doc="Which batch sizes are tried, and what for.")

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        yield from TrainRecipe.problems(self)
        if "bucket_config" not in fields_dict(self.bucketer.component.options):
            text = f"{self.bucketer.type} has no bucket_config, into which batch sizes could be written"
            yield Problem(("bucketer", "type"), text, ("use a bucketer that has one, such as bucket",))
            return
        for problem in self._buckets_without_batches():
            yield problem.under("bucket_config").under("search")

    def _buckets_without_batches(self) -> Iterator[Problem]:
        config: dict[Any, Any] = self.bucketer.options.bucket_config
        sizes = {key: entry[-1] for key, _, entry in entries_of(config)}
        names = {str(name) for name in config}
        known = f"bucketer.bucket_config has {'; '.join(map(bucket_name, sizes))}"
        for key, path, _ in entries_of(self.search.bucket_config):
            if key[0] not in names:
                unknown = "" if key[0] in resolution_names() else f"there is no resolution {key[0]!r}, and "
                hints = (*did_you_mean(key[0], names), known)
                yield Problem(path[:1], f"{unknown}bucketer.bucket_config has none of that name", hints, at_key=True)
            elif key not in sizes:
                yield Problem(path, "bucketer.bucket_config has no such bucket", (known,), at_key=True)
            elif sizes[key] is None:
                text = "bucketer.bucket_config keeps no clip in this bucket: it needs no batch size"
                yield Problem(path, text, ("give it a probability above 0 there, or leave it out here",), at_key=True)


def _wrong_ranges(config: Ranges) -> Iterator[Problem]:
    if not any(config.values()):
        yield Problem((), "has no buckets", (EXAMPLE,))
    seen: dict[Key, object] = {}
    for name, entries in config.items():
        for frames, (guess, width) in entries.items():
            path = (name, frames)
            try:
                key = (str(name), num_frames(frames))
            except UserError as error:
                yield Problem(path, str(error).removeprefix("num_frames: "), at_key=True)
                continue
            if seen.setdefault(key, frames) is not frames:
                yield Problem(path, f"means the same as {seen[key]}", at_key=True)
            yield from _wrong_range(path, guess, width)


def _wrong_range(path: tuple[str | int, str | int], guess: int, width: int) -> Iterator[Problem]:
    if guess < 1:
        yield Problem((*path, 0), f"a batch size is 1 or more, not {guess}", ("write [guess, range]",))
    if width < 0:
        hint = "write [guess, range]: guess - range to guess + range are searched; 0 searches nothing"
        yield Problem((*path, 1), f"a range is 0 or more, not {width}", (hint,))


def _no_such_base(base: list[Any], names: list[str]) -> tuple[str, tuple[str, ...]]:
    hints = (
        f"there are {'; '.join(names)}: write [resolution, number of frames]",
        "or [batch size, seconds], such as [16, 4.5]; or set base_step_time",
    )
    return f"{base} is no bucket of search.bucket_config", hints
