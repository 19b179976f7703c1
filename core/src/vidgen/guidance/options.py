"""What a recipe may say of guidance beyond its scale; every scheduler's options derive from it."""

from math import inf, isfinite
from typing import Any

from attrs import Attribute, frozen, validators

from vidgen.component import option


def _finite(_: Any, attribute: "Attribute[Any]", value: float) -> None:
    if not isfinite(value):
        raise ValueError(f"'{attribute.name}' must be a finite number: {value}")


FINITE: Any = _finite


def _interval(_: Any, attribute: "Attribute[Any]", value: tuple[float, float]) -> None:
    low, high = value
    if not 0 <= low <= high <= 1:
        raise ValueError(f"'{attribute.name}' must be two rising shares from 0 (data) to 1 (pure noise): {list(value)}")


@frozen(kw_only=True)
class GuidanceOptions:
    """Keys about guidance that every scheduler takes beside its own, by inheritance."""

    guidance_rescale: float = option(
        0.0,
        "Share, 0 to 1, by which guided predictions are brought back to the spread of the conditional ones.",
        validator=validators.and_(validators.ge(0), validators.le(1)),
    )
    guidance_interval: tuple[float, float] = option(
        (0.0, 1.0),
        "Times, as shares from data (0) to pure noise (1), between which guidance acts; outside, half is saved.",
        validator=_interval,
    )
    guidance_in_turn: bool = option(
        False, "Predict with and without the prompt one after the other: half the memory, the same clips."
    )
    dynamic_guidance: float | None = option(
        None,
        "Power p > 0 of a scale that grows as noise u falls: 1 + scale (1 - cos(pi (1 - u)^p)) / 2; null: even.",
        validator=validators.optional(validators.and_(validators.gt(0), validators.lt(inf))),
    )
