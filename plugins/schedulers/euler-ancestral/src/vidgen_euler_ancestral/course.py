"""What a sampler does from noise to data, worked out in float64 before its first step.

The state is kept as the model sees it, x = alpha data + sigma noise with alpha^2 + sigma^2 = 1, and not as data plus
s = sigma / alpha times noise, which reaches 4096: nothing is left to scale in the loop, and no digits are lost in it.

Letters: S steps.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import hypot, isfinite, sqrt

import torch
from attrs import frozen
from torch import Tensor
from vidgen_diffusion.prediction import Prediction, data_from


@frozen(kw_only=True)
class Step:
    """An Euler step with fresh noise, from s down to s'.

    time: what the model is told. alpha, sigma: levels of data and noise before the step.
    of_state, of_output: what x and the model's output add to the next x. of_given, of_data: what x and the data behind
    the output add, to the same effect. of_noise: what fresh noise adds; 0 in the last step.
    """

    kind: Prediction
    time: float
    alpha: float
    sigma: float
    of_state: float
    of_output: float
    of_given: float
    of_data: float
    of_noise: float

    def data(self, x: Tensor, output: Tensor) -> Tensor:
        """The data behind the model's output."""
        return data_from(self.kind, output, x, self.alpha, self.sigma)

    def by_output(self, x: Tensor, output: Tensor, noise: Tensor | None) -> Tensor:
        """The next x. noise: of x's shape; None where `of_noise` is 0."""
        return self._renewed(torch.add(self.of_state * x, output, alpha=self.of_output), noise)

    def by_data(self, x: Tensor, data: Tensor, noise: Tensor | None) -> Tensor:
        """The next x, from the data behind the output, which may have been changed since."""
        return self._renewed(torch.add(self.of_given * x, data, alpha=self.of_data), noise)

    def _renewed(self, x: Tensor, noise: Tensor | None) -> Tensor:
        return x if noise is None else x.add_(noise, alpha=self.of_noise)


@frozen(kw_only=True)
class Course:
    """sigmas: s before each step and after the last, S + 1 falling numbers down to 0. initial: what noise is multiplied
    with to begin at data + s noise. steps: S."""

    sigmas: tuple[float, ...]
    initial: float
    steps: tuple[Step, ...]

    @property
    def start(self) -> float:
        """What noise is multiplied with to begin, in terms of x."""
        return self.initial * self.steps[0].alpha


def course(kind: Prediction, times: Sequence[float], sigmas: Sequence[float], *, leading: bool) -> Course:
    """times, sigmas: (S,), as `sigmas_at` gives them. leading: begin with all the variance that data would have had."""
    assert falls(sigmas)
    ends = (*sigmas, 0.0)
    steps = [_step(kind, time, s, to) for time, (s, to) in zip(times, pairwise(ends), strict=True)]
    return Course(sigmas=ends, initial=hypot(ends[0], 1) if leading else ends[0], steps=tuple(steps))


def sigmas_at(times: Sequence[float], table: Sequence[float]) -> list[float]:
    """s at such times, between two whole ones in proportion."""
    return [_between(table, time) for time in times]


def falls(sigmas: Sequence[float]) -> bool:
    """Whether noise can only fall: more noise than there was cannot be reached by adding some."""
    return all(isfinite(s) and s > to for s, to in pairwise((*sigmas, 0.0)))


def _between(table: Sequence[float], time: float) -> float:
    below = int(time)
    above = min(below + 1, len(table) - 1)
    return table[below] + (time - below) * (table[above] - table[below])


def _step(kind: Prediction, time: float, s: float, to: float) -> Step:
    """x' = x + (x - data) / s (down - s) + up noise with x = data + s noise, down^2 + up^2 = to^2, and up as large as
    in the process that only adds noise (arXiv 2006.11239): down = to^2 / s. Then all over sqrt(to^2 + 1)."""
    alpha, sigma = 1 / hypot(s, 1), s / hypot(s, 1)
    next_alpha, kept = 1 / hypot(to, 1), (to / s) ** 2
    of_given, of_data = next_alpha * kept / alpha, next_alpha * (1 - kept)
    data_of_state, data_of_output = _data_in_parts(kind, alpha, sigma)
    return Step(
        kind=kind,
        time=time,
        alpha=alpha,
        sigma=sigma,
        of_state=of_given + of_data * data_of_state,
        of_output=of_data * data_of_output,
        of_given=of_given,
        of_data=of_data,
        of_noise=next_alpha * to * sqrt(1 - kept),
    )


def _data_in_parts(kind: Prediction, alpha: float, sigma: float) -> tuple[float, float]:
    """How much of the state and of the output there is in the data: `vidgen_diffusion.prediction.data_from`."""
    if kind == "epsilon":
        return 1 / alpha, -sigma / alpha
    return (0.0, 1.0) if kind == "sample" else (alpha, -sigma)
