"""A drawing of what clips are given, before anything is sampled."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from attrs import frozen

from vidgen.conditioning.spans import Span, spans
from vidgen.conditioning.strategy import Given

KEPT, EDITED, GENERATED = "#", "~", "."
LEGEND = f"{KEPT} kept  {EDITED} edited  {GENERATED} generated; one character a"
WIDEST = 100  # frames drawn one by one


@frozen
class Reference:
    """What stands in the legend for a reference, which has so many frames."""

    name: str
    frames: int


def timeline(
    given: Sequence[Given],
    references: Sequence[Reference],
    frames: int,
    loops: int,
    align: int | None = None,
    *,
    clip: bool = True,
    unit: str = "latent frame",
) -> str:
    """A line for each loop with a character for each frame, and which references they come from.

    given: of one sample, in all loops. frames: of a clip. align, clip: see `spans`. unit: what a frame is. More than
    100 frames are drawn as runs, such as `5# 115.`.

    Raises: UserError, for frames that are not there.
    """
    lengths = [reference.frames for reference in references]
    found = [list(spans(given, lengths, frames, loop, align, clip=clip, unit=unit)) for loop in range(loops)]
    width = len(f"loop {loops - 1}")
    lines = [f"{f'loop {loop}':<{width}}  {_drawn(some, frames)}" for loop, some in enumerate(found)]
    legend = (f"loop {loop}: {_told(span, references)}" for loop, some in enumerate(found) for span in some)
    return "\n".join([*lines, *(f"{'':<{width}}  {line}" for line in (f"{LEGEND} {unit}", *legend))])


def _drawn(found: Sequence[Span], frames: int) -> str:
    drawing = [GENERATED] * frames
    for span in found:
        drawing[span.frames] = [_character(span.edit)] * span.length
    return "".join(drawing) if frames <= WIDEST else " ".join(_runs(drawing))


def _runs(drawing: Sequence[str]) -> Iterator[str]:
    for character, run in groupby(drawing):
        yield f"{len(list(run))}{character}"


def _character(edit: float) -> str:
    return KEPT if edit <= 0 else GENERATED if edit >= 1 else EDITED


def _told(span: Span, references: Sequence[Reference]) -> str:
    here, there = (_frames(start, span.length) for start in (span.start, span.reference_start))
    edit = f", edited with ratio {span.edit:g}" if span.edit else ""
    return f"{here} from {references[span.reference].name}, its {there}{edit}"


def _frames(start: int, length: int) -> str:
    return f"frame {start}" if length == 1 else f"frames {start}-{start + length - 1}"
