"""What a search's options come to: which buckets in which order, which sizes, and what for. Imports no torch."""

from functools import cached_property

from attrs import frozen

from vidgen_search_batch_size.recipe import SearchOptions
from vidgen_search_batch_size.search import Found, Measure, bisect, scan
from vidgen_search_batch_size.spans import Key, Span, bucket_name, spans_of


@frozen(slots=False)
class Plan:
    """The base, where there is one, goes first: its step says how long the others' may take."""

    options: SearchOptions

    @cached_property
    def goal(self) -> float | None:
        """Seconds that a step may take, as far as the recipe says them."""
        return self.options.base_step_time or self.options.base_time

    @cached_property
    def base(self) -> Key | None:
        """The bucket whose step says them, where the recipe does not."""
        return None if self.goal else self.options.base_bucket

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """In the order in which they are searched: the base first, then as written."""
        name = None if self.options.resolution is None else str(self.options.resolution)
        wanted = [
            one for one in spans_of(self.options.bucket_config) if name in (None, one.key[0]) or self.is_base(one)
        ]
        return tuple(sorted(wanted, key=lambda one: not self.is_base(one)))

    @property
    def aim(self) -> str:
        """What is searched for, in words."""
        newer = self.options.algorithm == "v1.2"
        if self.goal is None and self.base is None:
            return "largest that fits" if newer else "most clips per second"
        seconds = f"{self.goal:.4g} s" if self.goal else f"that of {bucket_name(self.base)}" if self.base else ""
        return f"largest whose step takes less than {seconds}" if newer else f"step nearest to {seconds}"

    def is_base(self, span: Span) -> bool:
        """Whether it says the time for all."""
        return span.key == self.base

    def is_searched(self, span: Span) -> bool:
        """Whether there is anything to try: always of the base, whose time is wanted."""
        return span.range > 0 or self.is_base(span)

    def most_trials(self, span: Span) -> int:
        """How many there can be."""
        sizes = range(span.lower, span.upper + 1)
        if not self.is_searched(span):
            return 0
        halvings = len(sizes).bit_length()
        if self.options.algorithm == "v1.2":
            return halvings
        return min(halvings + len(sizes[:: self.options.scan_step]), len(sizes))

    def search(self, span: Span, measure: Measure, goal: float | None) -> Found:
        """The size to take. goal: seconds that a step may take; None: any."""
        if not self.is_searched(span):
            return Found(batch_size=span.guess, step_time=0.0)
        aimed = None if self.is_base(span) else goal
        if self.options.algorithm == "v1.2":
            return bisect(measure, lower=span.lower, upper=span.upper, goal=aimed)
        return scan(measure, lower=span.lower, upper=span.upper + 1, step=self.options.scan_step, goal=aimed)
