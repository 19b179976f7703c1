"""How often a model that is shown frames beside the noise is shown which ones in training, as recipes say it."""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen, validators

from vidgen.component import option
from vidgen.errors import Problem

NOTHING = "t2iv"
VIDEO_KINDS = (NOTHING, "i2v", "transition", "continuation", "random_temporal", "clear")
STILL_KINDS = (NOTHING, "clear")
"""Kinds that mean something for one frame."""

SHARE: Any = validators.and_(validators.ge(0), validators.le(1))


def _shares(_: Any, __: Any, ratios: Mapping[str, float]) -> None:
    """Raises: ValueError."""
    for kind, ratio in ratios.items():
        if kind not in VIDEO_KINDS:
            raise ValueError(f"there are no masks called {kind!r}; known: {', '.join(VIDEO_KINDS)}")
        if not 0 <= ratio < float("inf"):
            raise ValueError(f"{kind} is {ratio}; a number of 0 or more is wanted, in proportion to the others")
    if sum(ratios.values()) <= 0:
        raise ValueError(f"the sum of the shares must be above 0, got {dict(ratios)}")


@frozen(kw_only=True)
class FrameMaskOptions:
    """Which video frames a model is shown, with names of Open-Sora-Plan 1.3's `mask_config`."""

    ratios: dict[str, float] = option(
        doc="Kind of mask -> share, of any sum: t2iv shows nothing, i2v the first frame, transition the first and the "
        "last, continuation frames from the first on, random_temporal frames anywhere, clear all.",
        validator=_shares,
    )
    min_clear_ratio: float = option(
        0.0, "Least share of the frames that continuation and random_temporal show.", validator=SHARE
    )
    max_clear_ratio: float = option(1.0, "Largest share of them; uniform between the two.", validator=SHARE)

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        if self.min_clear_ratio > self.max_clear_ratio:
            text = f"{self.min_clear_ratio:g} is above max_clear_ratio, {self.max_clear_ratio:g}"
            yield Problem(("min_clear_ratio",), text, ("give the least share first",))

    def of(self, frames: int) -> dict[str, float]:
        """Kind -> probability for clips of so many frames. Stills are shown or not; nothing is shown of them where
        `ratios` name neither kind."""
        kinds = VIDEO_KINDS if frames > 1 else STILL_KINDS
        found = {kind: self.ratios.get(kind, 0.0) for kind in kinds}
        whole = sum(found.values())
        return {kind: share / whole for kind, share in found.items()} if whole else {NOTHING: 1.0}
