"""Step caches: work of one sampling step that is used again in the next ones.

Offers `pyramid-attention-broadcast` and `timestep-distance`. Read whenever vidgen starts, so it holds only names and
options; the work is in `vidgen_step_caches.broadcast` and `vidgen_step_caches.distance`.
"""

from collections.abc import Iterable
from math import isfinite
from typing import Any, Literal

from attrs import frozen, validators
from vidgen import Component, hookimpl, option


def _counts(_: Any, attribute: Any, value: dict[str, int]) -> None:
    if not value or min(value.values()) < 1:
        raise ValueError(f"'{attribute.name}' must give each pattern a whole number, 1 or more: {value}")


def _shares(_: Any, attribute: Any, value: tuple[float, float]) -> None:
    first, last = value
    if not 0 <= first <= last <= 1:
        raise ValueError(f"'{attribute.name}' must be two rising shares from 0 (first step) to 1 (last): {list(value)}")


def _polynomial(_: Any, attribute: Any, value: list[float]) -> None:
    if not value or not all(isfinite(one) for one in value):
        raise ValueError(f"'{attribute.name}' must be one finite number or more: {value}")


@frozen(kw_only=True)
class BroadcastOptions:
    """Keys allowed beside `type: pyramid-attention-broadcast`."""

    every: dict[str, int] = option(
        {"*.cross_attn": 6, "*.attn_temp": 4, "temporal_blocks.*.attn": 4, "*.attn": 2},
        "Pattern of modules' names: steps that an output is used for, 1 for never again; the first that fits counts.",
        validator=_counts,
    )
    between: tuple[float, float] = option(
        (0.15, 0.85), "Shares of the steps between which outputs are used again.", validator=_shares
    )


@frozen(kw_only=True)
class DistanceOptions:
    """Keys allowed beside `type: timestep-distance`."""

    threshold: float = option(
        0.075,
        "Changes that add up to less leave the blocks out; 0 never does.",
        validator=validators.and_(validators.ge(0), validators.lt(float("inf"))),
    )
    max_skipped: int = option(3, "Steps left out one after the other at most.", validator=validators.ge(0))
    measure: Literal["tokens", "time"] = option(
        "time", "What enters the first block and is compared: the vectors of time, or the tokens."
    )
    polynomial: list[float] = option(
        [1.0, 0.0],
        "Coefficients of the polynomial that each relative change goes through, the highest power first.",
        validator=_polynomial,
    )


@hookimpl
def vidgen_step_caches() -> Iterable[Component]:
    """List the step caches of this plugin."""
    yield Component(
        name="pyramid-attention-broadcast",
        summary="Outputs of attention layers are used for several steps, those that change less for more (PAB).",
        options=BroadcastOptions,
        factory="vidgen_step_caches.broadcast:build",
    )
    yield Component(
        name="timestep-distance",
        summary="Leaves all blocks out of steps in which little has changed at their entrance, as TeaCache does.",
        options=DistanceOptions,
        factory="vidgen_step_caches.distance:build",
    )
