"""Moving shapes: clips of one coloured shape that moves, drawn on demand, and the metric that marks generated ones.

Offers the dataset `moving-shapes` and the metric `moving-shapes`. Read whenever vidgen starts, so it holds only names
and options; the pictures are drawn in `vidgen_moving_shapes.dataset` and judged in `vidgen_moving_shapes.metric`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from attrs import validators
from vidgen import Component, hookimpl, option

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def _is_range_within(lowest: float, highest: float) -> Validator:
    def check(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[float, float]) -> None:
        if not lowest <= value[0] <= value[1] <= highest:
            bounds = f"{lowest} <= low <= high <= {highest}"
            raise ValueError(f"{attribute.name} must be two numbers with {bounds}, not {list(value)}")

    return check


def _is_colour(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[int, int, int]) -> None:
    if not all(0 <= channel <= 255 for channel in value):
        raise ValueError(f"{attribute.name} must be three whole numbers from 0 to 255, not {list(value)}")


@attrs.frozen(kw_only=True)
class MovingShapesOptions:
    """Keys allowed beside `type: moving-shapes` in a dataset section."""

    rows: int = option(
        20000,
        "Clips in an epoch, at least 1; row r shows combination r modulo 48, so a multiple of 48 is balanced.",
        validator=validators.ge(1),
    )
    seed: int | None = option(None, "Seed of sizes, places and speeds; null takes the run's seed.")
    background: tuple[int, int, int] = option(
        (0, 0, 0), "Colour behind the shape: red, green and blue, 0 to 255 each.", validator=_is_colour
    )
    object_size: tuple[float, float] = option(
        (0.4, 0.55),
        "Smallest and largest width of the shape, as a share of the frame's shorter side, 0.1 to 0.7.",
        validator=_is_range_within(0.1, 0.7),
    )
    start: tuple[float, float] = option(
        (0.0, 0.1),
        "Where the movement begins, smallest and largest distance from the edge it leaves, as a share of the way the "
        "frame leaves free, 0 to 1; nearer when `travel` needs the room.",
        validator=_is_range_within(0.0, 1.0),
    )
    travel: tuple[float, float] = option(
        (0.5, 0.8),
        "Shortest and longest way covered in a clip, as a share of the way the frame leaves free, 0.2 to 1.",
        validator=_is_range_within(0.2, 1.0),
    )
    fps: float = option(8.0, "Frames per second that the table states, above 0.", validator=validators.gt(0))


@attrs.frozen(kw_only=True)
class MetricOptions:
    """Keys allowed beside `type: moving-shapes` in a metric section: none."""


@hookimpl
def vidgen_datasets() -> Iterable[Component]:
    """The dataset of drawn clips."""
    yield Component(
        name="moving-shapes",
        summary="drawn clips such as 'a red circle moving left': 4 colours, 3 shapes, 4 directions",
        options=MovingShapesOptions,
        factory="vidgen_moving_shapes.dataset:build",
    )


@hookimpl
def vidgen_metrics() -> Iterable[Component]:
    """The metric that reads colour, shape and direction off the pixels."""
    yield Component(
        name="moving-shapes",
        summary="share of clips whose colour, shape and direction are those of the prompt",
        options=MetricOptions,
        factory="vidgen_moving_shapes.metric:build",
    )
