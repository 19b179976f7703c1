"""Which latent frames a strategy comes to, once the lengths of clip and references are known."""

from collections.abc import Iterator, Sequence

from attrs import frozen

from vidgen.conditioning.strategy import Given, to_text
from vidgen.errors import UserError


@frozen(kw_only=True)
class Span:
    """Frames `reference_start` and following of a reference that lie at `start` and following; `length` is above 0."""

    reference: int
    reference_start: int
    start: int
    length: int
    edit: float

    @property
    def frames(self) -> slice:
        """Of the clip."""
        return slice(self.start, self.start + self.length)

    @property
    def reference_frames(self) -> slice:
        """Of the reference."""
        return slice(self.reference_start, self.reference_start + self.length)


def spans(
    given: Sequence[Given],
    references: Sequence[int],
    frames: int,
    loop: int,
    align: int | None = None,
    *,
    clip: bool = True,
    unit: str = "latent frame",
) -> Iterator[Span]:
    """The spans of one sample in one loop, in order; what has no length is left out.

    references: T, latent frames of each. frames: F, of the clip. align: latent frames that an autoencoder codes
    together: every start is moved to the nearest multiple of it. clip: shorten what does not fit instead of refusing
    it (Open-Sora 1.1 refuses). unit: what a frame is.

    Raises: UserError, for frames that are not there or do not fit.
    """
    for one in given:
        if one.loop == loop:
            span = _span(one, references, frames, align, clip, unit)
            if span.length:
                yield span


def nearest_multiple(start: int, align: int, limit: int) -> int:
    """The multiple of `align` nearest to `start`, the lower of two; at most the last one with a whole piece behind it
    before `limit`."""
    whole, rest = divmod(start, align)
    up = rest > align / 2 and whole < limit // align - 1
    return (whole + up) * align


def _span(one: Given, references: Sequence[int], frames: int, align: int | None, clip: bool, unit: str) -> Span:
    count = len(references)
    if not -count <= one.reference < count:
        there = f"only 0..{count - 1} are there" if count else "the sample has none"
        raise UserError(f"mask_strategy: {to_text([one])} takes reference {one.reference}, but {there}")
    if one.length < 0:
        raise UserError(f"mask_strategy: {to_text([one])} has a length below 0: {one.length}")
    reference = one.reference % count
    available = references[reference]
    reference_start = _start(one.reference_start, available, align, f"reference {reference}", one, unit)
    start = _start(one.start, frames, align, "the clip", one, unit)
    length = min(one.length, frames - start, available - reference_start)
    if length < one.length and not clip:
        raise UserError(
            f"mask_strategy: {to_text([one])} wants {one.length} {unit}s, but from there on "
            f"reference {reference} has {available - reference_start} and the clip {frames - start}"
        )
    return Span(reference=reference, reference_start=reference_start, start=start, length=max(0, length), edit=one.edit)


def _start(start: int, count: int, align: int | None, what: str, one: Given, unit: str) -> int:
    found = start + count if start < 0 else start
    if not 0 <= found <= count:
        raise UserError(
            f"mask_strategy: {to_text([one])} begins at frame {start} of {what}, which has {count} {unit}s\n"
            f"    accepted: {-count}..{count - 1}"
        )
    return nearest_multiple(found, align, count) if align else found
