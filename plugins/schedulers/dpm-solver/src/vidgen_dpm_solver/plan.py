"""The whole solver as numbers, made before the first step: when the model is called and how its answers combine.

Each answer of the model stands for a value: predicted data (`dpmsolver++`) or predicted noise (`dpmsolver`). On the way
from s to t the values are taken for a short Taylor series in lambda = log(alpha / sigma), of which the integral is
known; derivatives are differences of values. So every step is a weighted sum.

Sources: arXiv 2206.00927, section 3; arXiv 2211.01095, section 4. Multistep of order 3, the orders of the last steps
and the spacing of singlestep are those of the code published with them.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, pairwise
from math import expm1
from typing import Any

import torch
from attrs import frozen
from vidgen_diffusion.prediction import data_from, noise_from

from vidgen_dpm_solver import DPMSolverOptions
from vidgen_dpm_solver.schedule import Level, NoiseSchedule

FEW = 10  # steps, below which the last ones are of lower order
WITHIN: dict[int, tuple[float, ...]] = {1: (), 2: (1 / 2,), 3: (1 / 3, 2 / 3)}  # where singlestep stops within a step
Weights = tuple[float, ...]


@frozen(kw_only=True)
class Call:
    """One call of the model, and the move that follows.

    level: where it is called. data: the value is data, else noise. to_value: weights of the state and of the model's
    answer in the value. opens: the state here is what moves start from until the next call that opens. ratio: weight of
    that state in the next one. weights: of values in the next state, newest first; older values play no role.
    """

    level: Level
    data: bool
    to_value: tuple[float, float]
    opens: bool = True
    ratio: float
    weights: Weights


@frozen
class Move:
    """x_t = ratio x_s + first v + second v' + third v'': the value at s and its derivatives in lambda, measured so that
    the way from s to t has length 1."""

    ratio: float
    first: float
    second: float
    third: float

    def slope(self, *, taylor: bool) -> float:
        """Weight of v' in formulas of order 2: what the series has, or what the value halfway would add."""
        return self.second if taylor else self.first / 2


def make_plan(schedule: NoiseSchedule, options: DPMSolverOptions, steps: int) -> list[Call]:
    """All calls in order: `steps` of them, in multistep at least the order, and one more with `denoise_to_zero`."""
    calls = list((_multistep if options.method == "multistep" else _singlestep)(schedule, options, steps))
    if options.denoise_to_zero:
        (last,) = schedule.levels(schedule.grid(options.skip_type, 1)[1:])
        to_value = value_weights(options.prediction_type, last, data=True)
        calls.append(Call(level=last, data=True, to_value=to_value, ratio=0.0, weights=(1.0,)))
    return calls


def value_weights(kind: str, level: Level, *, data: bool) -> tuple[float, float]:
    """Weights of the state and of the model's answer in the data, or the noise, that the answer stands for.

    kind: as `prediction_type`; a score is -noise / sigma.
    """
    convert: Any = data_from if data else noise_from  # linear in both: numbers do as well as tensors
    predicted, of_answer = ("epsilon", -level.sigma) if kind == "score" else (kind, 1.0)
    at = (level.alpha, level.sigma)
    return convert(predicted, 0.0, 1.0, *at), convert(predicted, of_answer, 0.0, *at)


def move(start: Level, end: Level, *, data: bool) -> Move:
    """Source: arXiv 2206.00927, proposition 3.1, for values that are noise; 2211.01095, proposition 4.1, for data."""
    h = end.half_log_snr - start.half_log_snr
    if data:
        ratio, scale, h = end.sigma / start.sigma, end.alpha, -h
    else:
        ratio, scale = end.alpha / start.alpha, end.sigma
    phi1 = expm1(h)
    phi2 = phi1 / h - 1
    phi3 = phi2 / h - 1 / 2
    return Move(ratio, -scale * phi1, -scale * phi2, -scale * phi3)


def multistep_weights(move: Move, past: Sequence[Level], end: Level, *, taylor: bool) -> Weights:
    """Of the values at `past`, newest first, whose number is the order.

    The second derivative of order 3 is taken as half of what it is, as published.
    """
    first = move.first
    if len(past) == 1:
        return (first,)
    h = end.half_log_snr - past[0].half_log_snr
    gaps = [(later.half_log_snr - earlier.half_log_snr) / h for later, earlier in pairwise(past)]
    if len(past) == 2:
        slope = move.slope(taylor=taylor) / gaps[0]
        return first + slope, -slope
    bend = (move.second * gaps[0] + move.third) / (gaps[0] + gaps[1])
    slope, bend = (move.second + bend) / gaps[0], bend / gaps[1]
    return first + slope, -slope - bend, bend


def singlestep_weights(move: Move, shares: Sequence[float], *, taylor: bool) -> Weights:
    """Of the values at `shares` (rising, from the first stop within the step) and at the start, newest first."""
    first, second, third = move.first, move.second, move.third
    if not shares:
        return (first,)
    if len(shares) == 1:
        slope = move.slope(taylor=taylor) / shares[0]
        return slope, first - slope
    near, far = shares
    if not taylor:
        slope = second / far
        return slope, 0.0, first - slope
    to_far = (2 * third - near * second) / (far - near) / far
    to_near = (far * second - 2 * third) / (far - near) / near
    return to_far, to_near, first - to_far - to_near


def singlestep_orders(order: int, steps: int) -> list[int]:
    """Of the steps that together call the model `steps` times: DPM-Solver-fast of arXiv 2206.00927."""
    whole, rest = divmod(steps, order)
    if order == 3 and rest == 0:
        return [*[3] * (whole - 1), 2, 1]  # the last step is never of order 3
    return [*[order] * whole, *([rest] if rest else [])]


def _multistep(schedule: NoiseSchedule, options: DPMSolverOptions, steps: int) -> Iterator[Call]:
    levels = schedule.levels(schedule.grid(options.skip_type, steps))
    data, taylor = options.algorithm_type == "dpmsolver++", options.solver_type == "taylor"
    lowered = options.lower_order_final and steps < FEW
    for i, (level, end) in enumerate(pairwise(levels)):
        order = min(options.order, i + 1, steps - i if lowered else steps)
        past = levels[i - order + 1 : i + 1][::-1]
        way = move(level, end, data=data)
        yield Call(
            level=level,
            data=data,
            to_value=value_weights(options.prediction_type, level, data=data),
            ratio=way.ratio,
            weights=multistep_weights(way, past, end, taylor=taylor),
        )


def _singlestep(schedule: NoiseSchedule, options: DPMSolverOptions, steps: int) -> Iterator[Call]:
    orders = singlestep_orders(options.order, steps)
    if options.skip_type == "logSNR":
        times = schedule.grid(options.skip_type, len(orders))
    else:
        times = schedule.grid(options.skip_type, steps)[list(accumulate(orders, initial=0))]
    ways = list(zip(orders, pairwise(schedule.levels(times)), strict=True))
    within = [
        start.half_log_snr + share * (end.half_log_snr - start.half_log_snr)
        for order, (start, end) in ways
        for share in WITHIN[order]
    ]
    inner = iter(schedule.levels(schedule.time(torch.tensor(within, dtype=torch.float64, device="cpu"))))
    for order, (start, end) in ways:
        yield from _one_step(options, [start, *islice(inner, order - 1), end])


def _one_step(options: DPMSolverOptions, stops: Sequence[Level]) -> Iterator[Call]:
    """A call at each stop but the last; each moves from the first stop to the one after it."""
    shares, data = WITHIN[len(stops) - 1], options.algorithm_type == "dpmsolver++"
    for i, (level, end) in enumerate(pairwise(stops)):
        way = move(stops[0], end, data=data)
        last = end is stops[-1]
        yield Call(
            level=level,
            data=data,
            to_value=value_weights(options.prediction_type, level, data=data),
            opens=i == 0,
            ratio=way.ratio,
            # Moves to stops within the step go by the derivative, whatever the formula of the last one.
            weights=singlestep_weights(
                way,
                shares[:i] if last else [share / shares[i] for share in shares[:i]],
                taylor=options.solver_type == "taylor" or not last,
            ),
        )
