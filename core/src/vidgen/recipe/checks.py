"""What values of recipes are checked by: validators that several options share."""

import re
from collections.abc import Callable, Mapping
from math import inf, isfinite
from typing import Any

from attrs import validators

from vidgen import aspect
from vidgen.conditioning.mask_ratios import complete_ratios
from vidgen.errors import UserError

AT_LEAST_ONE = validators.ge(1)
POSITIVE: Any = validators.and_(validators.gt(0), validators.lt(inf))
NOT_NEGATIVE = validators.ge(0)
UP_TO_ONE: Any = validators.and_(validators.ge(0), validators.le(1))
SHARE = validators.and_(validators.ge(0), validators.lt(1))
OPTIONAL_COUNT = validators.optional(AT_LEAST_ONE)
OPTIONAL_SIZE = validators.optional(validators.deep_iterable(AT_LEAST_ONE))


def finite(_: Any, attribute: Any, value: float | None) -> None:
    """Raises: ValueError, for infinity and what is no number."""
    if value is not None and not isfinite(value):
        raise ValueError(f"'{attribute.name}' must be a finite number: {value}")


def file_name(_: Any, __: Any, value: str | None) -> None:
    """A part of a file's name, without folders. Raises: ValueError."""
    if value is not None and ("/" in value or "\\" in value):
        raise ValueError(f"expected a part of a file's name, without / and \\, got {value!r}; outputs names the folder")


def _known(check: Callable[[Any], object]) -> Any:
    """A validator of names that have a table."""

    def validate(_: Any, __: Any, value: Any) -> None:
        try:
            if value is not None:
                check(value)
        except UserError as error:
            raise ValueError(re.sub(r"^\w+: ", "", str(error))) from None  # the key is told by the recipe

    return validate


def frames(_: Any, __: Any, value: int | str | None) -> None:
    """A number of frames, 1 or more, or a name of one such as 4s. Raises: ValueError."""
    if isinstance(value, str) and value.isdecimal():
        raise ValueError(f"expected a whole number, got {value!r} (text)")
    if value is not None and _named_frames(value) < 1:
        raise ValueError(f"must be 1 or more: {value}")


def _named_frames(value: int | str) -> int:
    try:
        return aspect.num_frames(value)
    except UserError as error:
        raise ValueError(str(error).removeprefix("num_frames: ")) from None


named_resolution: Any = _known(aspect.resolution)
named_aspect_ratio: Any = _known(lambda name: aspect.image_size("240p", name))  # which has them all


def ratios(_: Any, __: Any, value: Mapping[str, float]) -> None:
    """Shares of kinds of masks, see `vidgen.conditioning.mask_ratios`. Raises: ValueError."""
    try:
        complete_ratios(value)
    except UserError as error:
        raise ValueError(str(error).removeprefix("mask_ratios: ")) from None


def share_or_count(_: Any, attribute: Any, value: int | float) -> None:
    """A number of rows, or a share of them. Raises: ValueError."""
    if value <= 0 or (isinstance(value, float) and value >= 1):
        raise ValueError(f"'{attribute.name}' must be a number of rows, 1 or more, or a share between 0 and 1: {value}")
