"""Families without whole steps: all levels of noise count, and training draws any of them.

Letters: B samples, E predictions. Shares run from 0 (data) to 1 (pure noise); times are what the model is told.
"""

from functools import partial
from math import pi
from typing import Any

import torch
from torch import Tensor
from vidgen.errors import UserError
from vidgen.rng import Draws
from vidgen_diffusion import checks
from vidgen_diffusion.prediction import Level, target

from vidgen_diffusers import DiffusersOptions
from vidgen_diffusers.families import Family
from vidgen_diffusers.levels import Levels, by_flow, by_sigma, by_variance, listed
from vidgen_diffusers.losses import PathLoss

SHARE_OPTIONS = frozenset({"sample_method", "loc", "scale"})
FLOW_OPTIONS = SHARE_OPTIONS | {"flow_target", "loss_weighting"}
LEAST_NOISE = 1 / 1000  # of what sigma_sqrt weighs: the inverse of none has no end
EDM_MEAN, EDM_SPREAD = -1.2, 1.2  # of the logarithm of sigma in training (arXiv 2206.00364, table 1)


def flow(name: str, scheduler: Any, options: DiffusersOptions, *, rising: bool = False) -> Family:
    """Straight lines from data to noise (arXiv 2209.03003); logit-normal shares and weights: arXiv 2403.03206, section
    3.1. rising: times are shares of data, the library takes data - noise, and it counts the end as a step."""
    last = 1 if rising else scheduler.config.num_train_timesteps

    def turned(t: Tensor) -> Tensor:
        return 1 - t if rising else t / last  # times to shares of noise

    def aim(x: Tensor, noise: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return x - noise if options.flow_target == "velocity" else noise - x

    def draw(draws: Draws, device: torch.device) -> Tensor:
        share = _shares(options, draws, device)
        return 1 - share if rising else share * last

    losses = PathLoss(
        draw=draw,
        check=partial(checks.times, last=last),
        level=lambda t: (1 - turned(t), turned(t)),
        target=aim,
        weight=lambda t: _flow_weight(options.loss_weighting, turned(t)),
    )
    return Family(
        prediction_type=options.flow_target,
        levels=lambda scheduler: by_flow(listed(scheduler.sigmas, len(scheduler.timesteps))),
        losses=losses,
        target=aim,
        options=FLOW_OPTIONS,
        sign=-1 if (options.flow_target == "velocity") != rising else 1,
        spare=int(rising),
        first=lambda scheduler: 1.0,
    )


def circle(name: str, scheduler: Any, options: DiffusersOptions) -> Family:
    """Data and noise as cosine and sine of a quarter turn; models predict v (arXiv 2202.00512)."""

    def levels(scheduler: Any) -> Levels:
        share = listed(scheduler.timesteps, len(scheduler.timesteps))
        alpha, sigma = (listed(numbers, len(share)) for numbers in (scheduler.alphas, scheduler.betas))
        return Levels(signal=alpha, noise=sigma, scale=torch.ones_like(share), share=share)

    aim = partial(target, "v_prediction")
    losses = PathLoss(
        draw=partial(_shares, options),
        check=partial(checks.times, last=1),
        level=lambda t: (torch.cos(t * pi / 2), torch.sin(t * pi / 2)),
        target=aim,
    )
    return Family(prediction_type="v_prediction", levels=levels, losses=losses, target=aim, options=SHARE_OPTIONS)


def cosine(name: str, scheduler: Any, options: DiffusersOptions) -> Family:
    """The squared cosine of arXiv 2102.09672 at any time; models predict the noise. Its timesteps end with the data,
    and a step takes one for each sample."""
    made = scheduler

    def levels(scheduler: Any) -> Levels:
        share = listed(scheduler.timesteps, len(scheduler.timesteps) - 1)
        return by_variance(scheduler._alpha_cumprod(share, share.device), share)

    def level(t: Tensor) -> tuple[Tensor, Tensor]:
        data = made._alpha_cumprod(t, t.device)
        return data.sqrt(), (1 - data).sqrt()

    aim = partial(target, "epsilon")
    losses = PathLoss(draw=partial(_shares, options), check=partial(checks.times, last=1), level=level, target=aim)
    return Family(
        prediction_type="epsilon",
        levels=levels,
        losses=losses,
        target=aim,
        options=SHARE_OPTIONS,
        asked=lambda t, batch: t.expand(batch),
    )


def edm(name: str, scheduler: Any, options: DiffusersOptions) -> Family:
    """Data plus sigma noise, scaled to a spread of 1 for the model, which is told ln(sigma) / 4 and predicts v of data
    over their spread, or its opposite, which the library calls epsilon (arXiv 2206.00364, section 5)."""
    kind, spread = scheduler.config.prediction_type, scheduler.config.sigma_data
    if kind not in ("epsilon", "v_prediction"):
        raise UserError(f"{name} has no prediction_type: {kind}: set it to epsilon or v_prediction in config.")

    def levels(scheduler: Any) -> Levels:
        sigmas = listed(scheduler.sigmas, len(scheduler.timesteps))
        return by_sigma(sigmas, torch.atan(sigmas / spread) * 2 / pi, spread)

    def level(t: Tensor) -> tuple[Tensor, Tensor]:
        sigma = torch.exp(4 * t)
        alpha = 1 / (sigma.square() + spread**2).sqrt()
        return alpha, sigma * alpha

    def aim(x: Tensor, noise: Tensor, alpha: Level, sigma: Level) -> Tensor:
        v = target("v_prediction", x / spread, noise, spread * alpha, sigma)
        return v if kind == "v_prediction" else -v

    return Family(
        prediction_type="edm" if kind == "epsilon" else "edm-v",
        levels=levels,
        losses=PathLoss(draw=_edm_times, check=_check_edm_times, level=level, target=aim),
        target=aim,
        scales=True,
    )


def _shares(options: DiffusersOptions, draws: Draws, device: torch.device) -> Tensor:
    if options.sample_method == "uniform":
        return draws.uniform("timestep", device=device)
    return torch.sigmoid(options.loc + options.scale * draws.normal("timestep", (), device=device))


def _flow_weight(weighting: str, noise: Tensor) -> Tensor:
    if weighting == "sigma_sqrt":
        return noise.clamp(min=LEAST_NOISE) ** -2
    return 2 / (pi * (1 - 2 * noise + 2 * noise.square())) if weighting == "cosmap" else torch.ones_like(noise)


def _edm_times(draws: Draws, device: torch.device) -> Tensor:
    return (EDM_MEAN + EDM_SPREAD * draws.normal("timestep", (), device=device)) / 4


def _check_edm_times(t: Tensor, batch: int) -> None:
    if t.shape != (batch,) or not bool(t.isfinite().all()):
        raise UserError(f"t must be {batch} finite numbers, ln(sigma) / 4 of each sample, given {t.tolist()}.")
