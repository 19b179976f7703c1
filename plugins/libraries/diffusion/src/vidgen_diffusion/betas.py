"""Noise schedules by name: the variance added in each of N steps, (N,) float64 on the CPU.

Sources: `linear` arXiv 2006.11239, section 4, scaled to other numbers of steps; `squaredcos_cap_v2` arXiv 2102.09672,
equation 17; the others are those of the code published with arXiv 2006.11239.
"""

from collections.abc import Callable
from math import cos, pi

import torch
from torch import Tensor

FIRST, LAST = 0.0001, 0.02  # of 1000 steps
LARGEST = 0.999
CPU = "cpu"  # whatever the default device is: a dry run builds under meta, and tables are read on the host
SHIFT = 0.008  # so that the first steps add enough to be predicted


def named_betas(name: str, steps: int) -> Tensor:
    """`linear`, its ends scaled by 1000 / steps; `squaredcos_cap_v2`; or one of `spaced_betas` between those ends."""
    if name == "squaredcos_cap_v2":
        return cosine_betas(steps)
    return spaced_betas(name, FIRST * 1000 / steps, LAST * 1000 / steps, steps)


def cosine_betas(steps: int, largest: float = LARGEST) -> Tensor:
    """Those of a squared cosine as running product, none above `largest`."""

    def product(share: float) -> float:
        return cos((share + SHIFT) / (1 + SHIFT) * pi / 2) ** 2

    betas = [min(1 - product((i + 1) / steps) / product(i / steps), largest) for i in range(steps)]
    return torch.tensor(betas, dtype=torch.float64, device=CPU)


def spaced_betas(name: str, first: float, last: float, steps: int) -> Tensor:
    """From `first` to `last`: `linear`, `quad` (evenly spaced roots), `const` (all last), `jsd` (1/N, 1/(N-1), ..., 1),
    `warmup10` and `warmup50` (linear over that percentage, then last). Raises: KeyError, for another name."""
    return SPACED[name](first, last, steps)


def _linear(first: float, last: float, steps: int) -> Tensor:
    return torch.linspace(first, last, steps, dtype=torch.float64, device=CPU)


def _warmup(share: float) -> Callable[[float, float, int], Tensor]:
    def betas(first: float, last: float, steps: int) -> Tensor:
        rising = int(steps * share)
        return torch.cat(
            [_linear(first, last, rising), torch.full((steps - rising,), last, dtype=torch.float64, device=CPU)]
        )

    return betas


SPACED: dict[str, Callable[[float, float, int], Tensor]] = {
    "linear": _linear,
    "quad": lambda first, last, steps: _linear(first**0.5, last**0.5, steps) ** 2,
    "const": lambda first, last, steps: torch.full((steps,), last, dtype=torch.float64, device=CPU),
    "jsd": lambda first, last, steps: 1 / torch.arange(steps, 0, -1, dtype=torch.float64, device=CPU),
    "warmup10": _warmup(0.1),
    "warmup50": _warmup(0.5),
}
