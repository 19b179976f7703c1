"""How fast samplers approach the exact result as they take more steps, on data of which everything is known.

The best model is linear in x there, and so is what a sampler makes of noise: shift + gain z + a share of each fresh
draw. One clip shows them all: its first number has no noise, its second z = 1, each further one a draw of 1. So means
and deviations come without the scatter that samples would have.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import hypot, log
from statistics import linear_regression
from typing import Any

import torch
from attrs import field, frozen
from torch import Tensor
from vidgen import build
from vidgen.rng import Draws

from vidgen_bench.counting import Model
from vidgen_bench.exact import DATA, MEAN, NUM_TIMESTEPS, SPREAD, Level, flow, noise, preserving, straight, velocity

ROUNDING = 1e-7  # of times, which rflow keeps in float32: errors below say nothing
FITTED = 3  # points, the last ones; before them, higher powers of the step still count


@frozen(kw_only=True)
class Sampler:
    """name: in table and figure. scheduler, options: as in a recipe. order: the stated one. model: the best one of the
    kind that the scheduler asks. ends: the levels between which it solves the probability flow; None where it adds
    noise on its way, so that samples can be right as a whole, but not each by itself."""

    name: str
    scheduler: str
    order: int
    model: Model
    options: Mapping[str, Any] = field(factory=dict)
    ends: tuple[Level, Level] | None = None


@frozen(kw_only=True)
class Curve:
    """calls: of the model, for each number of steps. errors: root mean square over all noise, where there are ends;
    else how far the samples' mean and deviation are from the data's, together: the 2-Wasserstein distance."""

    sampler: Sampler
    calls: tuple[int, ...]
    errors: tuple[float, ...]

    @property
    def order(self) -> float:
        """The power of the number of calls with which the error falls in the end."""
        above = [(log(n), log(e)) for n, e in zip(self.calls, self.errors, strict=True) if e > ROUNDING][-FITTED:]
        return -linear_regression(*zip(*above, strict=True)).slope


def samplers() -> Iterator[Sampler]:
    """Those of vidgen's schedulers, on linear betas where there are any. Order 1 is the same in one step or several."""
    noisiest, cleanest = preserving(torch.tensor(NUM_TIMESTEPS - 1)), preserving(torch.tensor(0))
    rflow = (straight(torch.tensor(NUM_TIMESTEPS)), DATA)
    yield Sampler(name="rflow", scheduler="rflow", order=1, model=velocity, ends=rflow)
    fixed = {"learn_sigma": False}
    yield Sampler(
        name="iddpm, DDIM",
        scheduler="iddpm",
        order=1,
        model=noise,
        options={**fixed, "sampling_method": "ddim"},
        ends=(noisiest, DATA),
    )
    for order, method in ((1, "multistep"), (2, "multistep"), (3, "multistep"), (2, "singlestep"), (3, "singlestep")):
        yield Sampler(
            name=f"dpm-solver, order {order}" + (f", {method}" if order > 1 else ""),
            scheduler="dpm-solver",
            order=order,
            model=noise,
            options={"order": order, "method": method, "skip_type": "logSNR"},
            ends=(noisiest, cleanest),
        )
    yield Sampler(name="iddpm, ancestral", scheduler="iddpm", order=1, model=noise, options=fixed)
    yield Sampler(
        name="euler-ancestral",
        scheduler="euler-ancestral",
        order=1,
        model=noise,
        options={"prediction_type": "epsilon", "rescale_betas_zero_snr": False, "timestep_spacing": "trailing"},
    )


def curve(sampler: Sampler, all_steps: Sequence[int]) -> Curve:
    """The sampler's errors with so many steps each."""
    found = [_error(sampler, steps) for steps in all_steps]
    return Curve(sampler=sampler, calls=tuple(n for n, _ in found), errors=tuple(error for _, error in found))


class Impulses(Draws):
    """Draw i is 1 at place 2 + i of the last axis, and 0 elsewhere."""

    def __init__(self) -> None:
        super().__init__(0, [(0,)])
        self._place = 2

    def normal(
        self, purpose: str, shape: Sequence[int], *, device: torch.device | str = "cpu", step: int = 0
    ) -> Tensor:
        """(1, *shape)."""
        out = torch.zeros(1, *shape, device=device)
        out[..., self._place] = 1
        self._place += 1
        return out


def _error(sampler: Sampler, steps: int) -> tuple[int, float]:
    """With how many calls of the model, and how far off."""
    calls = list[Tensor]()

    def model(x: Tensor, t: Tensor) -> Tensor:
        calls.append(t)
        return sampler.model(x, t)

    z = torch.zeros(1, 1, 1, 1, 2 + steps, dtype=torch.float64)
    z[..., 1] = 1
    scheduler = build("scheduler", sampler.scheduler, num_sampling_steps=steps, **sampler.options)
    out = scheduler.sample(model, z, {}, None, 1.0, draws=Impulses())
    if sampler.ends is None:
        shift, shares = _parts(out)
        return len(calls), hypot(shift - MEAN, float(shares.norm()) - SPREAD)
    shift, shares = _parts(out - flow(z, *sampler.ends))
    return len(calls), hypot(shift, float(shares[0]))


def _parts(out: Tensor) -> tuple[float, Tensor]:
    """shift, and the shares of z and of each draw."""
    out = out.flatten()
    return float(out[0]), out[1:] - out[0]
