"""Encoded captions are kept without the zeros behind their end, and used with them."""

from collections.abc import Mapping

from torch import Tensor


def trimmed(text: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, int]]:
    """text: name -> what a text encoder makes of one caption, without the batch axis. Returns copies of its tensors up
    to the last entry along the first axis that is not zero, and the lengths that they had; single numbers as they are.
    """
    kept = {name: value if value.ndim == 0 else value[: _used(value)].clone() for name, value in text.items()}
    return kept, {name: len(value) for name, value in text.items() if value.ndim > 0}


def lengthened(text: Mapping[str, Tensor], lengths: Mapping[str, int]) -> dict[str, Tensor]:
    """What `trimmed` was given, from what it gave."""
    return {name: _lengthened(value, lengths[name]) if name in lengths else value for name, value in text.items()}


def _used(value: Tensor) -> int:
    places = value.flatten(1).any(dim=1).nonzero() if value.ndim > 1 else value.nonzero()
    return int(places[-1]) + 1 if len(places) else 0


def _lengthened(value: Tensor, length: int) -> Tensor:
    if len(value) == length:
        return value
    whole = value.new_zeros(length, *value.shape[1:])
    whole[: len(value)] = value
    return whole
