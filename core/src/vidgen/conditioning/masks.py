"""Which latent frames of a training clip are given and which are learned: mask training, as in Open-Sora 1.1 and 1.2.

A model that has seen clean frames among noised ones can later go on from a picture, join two clips, or fill a gap.
True is a frame that is noised and learned, false a given one.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from vidgen.conditioning.mask_ratios import WITHOUT_GIVEN
from vidgen.rng import Draws

LOW, HIGH = 0.1, 0.9  # shares of given frames in a `random` mask, uniform between them


class Chances(Protocol):
    """Where a mask's random numbers come from, in the order in which they are asked for."""

    def fraction(self) -> float:
        """Uniform in [0, 1)."""
        ...

    def integer(self, low: int, high: int) -> int:
        """Uniform in low..high, ends included."""
        ...

    def fractions(self, count: int) -> Tensor:
        """Uniform in [0, 1), (count,) float32."""
        ...


def training_mask(ratios: Mapping[str, float], frames: int, draws: Draws) -> Tensor:
    """(B, F) bool, a mask for each sample, drawn for itself (purpose `mask`).

    ratios: kind -> probability, of `complete_ratios`. frames: F, latent.
    """
    return torch.stack([draw_mask(ratios, frames, chances) for chances in addressed(draws)])


def draw_mask(ratios: Mapping[str, float], frames: int, chances: Chances) -> Tensor:
    """(F,) bool. The kind's number is drawn even where one frame leaves no choice."""
    kind = choose(ratios, chances.fraction(), WITHOUT_GIVEN)
    mask = torch.ones(frames, dtype=torch.bool)
    if frames > 1:
        KINDS[kind](mask, chances)
    return mask


def choose(ratios: Mapping[str, float], number: float, otherwise: str) -> str:
    """The kind that a number, uniform in [0, 1), falls to. otherwise: where the sum is short of 1 by rounding."""
    total = 0.0
    for kind, ratio in ratios.items():
        total += ratio
        if total > number:
            return kind
    return otherwise


def addressed(draws: Draws) -> "Iterator[Chances]":
    """Of each sample, for its mask."""
    return map(_Addressed, draws.generators("mask"))


def _nothing(mask: Tensor, chances: Chances) -> None:
    pass


def _random(mask: Tensor, chances: Chances) -> None:
    share = LOW + (HIGH - LOW) * chances.fraction()
    torch.gt(chances.fractions(len(mask)), share, out=mask)
    if not mask.any():
        mask[-1] = True  # there must be something to learn


def _every_second(mask: Tensor, chances: Chances) -> None:
    mask[chances.integer(0, 1) :: 2] = False


def _quarter(mask: Tensor, chances: Chances) -> int:
    return chances.integer(1, max(1, len(mask) // 4))


def _image(mask: Tensor, chances: Chances) -> int:
    return 1


def _anywhere(mask: Tensor, size: int, chances: Chances) -> None:
    start = chances.integer(0, len(mask) - size)
    mask[start : start + size] = False


def _head(mask: Tensor, size: int, chances: Chances) -> None:
    mask[:size] = False


def _tail(mask: Tensor, size: int, chances: Chances) -> None:
    mask[-size:] = False


def _head_and_tail(mask: Tensor, size: int, chances: Chances) -> None:
    _head(mask, size, chances)
    _tail(mask, size, chances)


Give = Callable[[Tensor, Chances], None]
Size = Callable[[Tensor, Chances], int]
GiveSome = Callable[[Tensor, int, Chances], None]


def _sized(size: Size, where: GiveSome) -> Give:
    return lambda mask, chances: where(mask, size(mask, chances), chances)


PLACES: Mapping[str, GiveSome] = {
    "random": _anywhere,
    "head": _head,
    "tail": _tail,
    "head_tail": _head_and_tail,
}
KINDS: Mapping[str, Give] = {
    WITHOUT_GIVEN: _nothing,
    "random": _random,
    "intepolate": _every_second,
    **{f"quarter_{name}": _sized(_quarter, where) for name, where in PLACES.items()},
    **{f"image_{name}": _sized(_image, where) for name, where in PLACES.items()},
}


class _Addressed:
    """Chances of one sample."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def fraction(self) -> float:
        return torch.rand((), generator=self._generator, dtype=torch.float64).item()

    def integer(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self._generator))

    def fractions(self, count: int) -> Tensor:
        return torch.rand(count, generator=self._generator)
