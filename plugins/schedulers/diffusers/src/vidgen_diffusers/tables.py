"""Families with whole steps and a table of the noise in each: what training draws from.

Their samplers find the levels in between by their timesteps, or have sigmas of their own. Letters: N steps, E
predictions.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from vidgen.errors import UserError
from vidgen_diffusion.loss import DenoisingLoss
from vidgen_diffusion.prediction import target

from vidgen_diffusers import DiffusersOptions
from vidgen_diffusers.families import Family
from vidgen_diffusers.levels import Levels, by_ratio, by_sigma, by_variance, listed

TABLE_OPTIONS = frozenset({"snr_gamma", "noise_offset"})

LevelsOf = Callable[[Any, Tensor, Tensor], Levels]
"""Of a scheduler, its timesteps (E,) and the table's alphas_cumprod (N,)."""


def table(name: str, scheduler: Any, options: DiffusersOptions, *, levels: LevelsOf, scales: bool = False) -> Family:
    """Raises: UserError, for a prediction type that is none here or has no weights."""
    kind, alphas_cumprod = scheduler.config.prediction_type, scheduler.alphas_cumprod.cpu()
    if kind not in ("epsilon", "sample", "v_prediction"):
        raise UserError(
            f"{name} cannot be used with prediction_type: {kind} here: set it to epsilon, sample or v_prediction in "
            "config; flow_prediction goes with use_flow_sigmas: true, where the class has that."
        )
    if options.snr_gamma is not None:
        _check_weights(kind, alphas_cumprod)
    losses = DenoisingLoss(
        alphas_cumprod=alphas_cumprod,
        kind=kind,
        bounds=(0, len(alphas_cumprod) - 1),
        snr_gamma=options.snr_gamma,
        noise_offset=options.noise_offset,
    )
    return Family(
        prediction_type=kind,
        levels=lambda scheduler: levels(scheduler, _timesteps(name, scheduler, len(alphas_cumprod)), alphas_cumprod),
        losses=losses,
        target=partial(target, kind),
        options=TABLE_OPTIONS,
        scales=scales,
    )


def of_timesteps(scheduler: Any, timesteps: Tensor, alphas_cumprod: Tensor) -> Levels:
    """The table's, at the timesteps."""
    return by_variance(alphas_cumprod.double()[timesteps.long()], timesteps / len(alphas_cumprod))


def of_ratios(scheduler: Any, timesteps: Tensor, alphas_cumprod: Tensor) -> Levels:
    """The scheduler's sigmas, for a state of even variance."""
    return by_ratio(listed(scheduler.sigmas, len(timesteps)), timesteps / len(alphas_cumprod))


def of_sigmas(scheduler: Any, timesteps: Tensor, alphas_cumprod: Tensor) -> Levels:
    """The scheduler's sigmas, for data plus noise as state."""
    return by_sigma(listed(scheduler.sigmas, len(timesteps)), timesteps / len(alphas_cumprod))


def of_midpoints(scheduler: Any, timesteps: Tensor, alphas_cumprod: Tensor) -> Levels:
    """The same, every other one between two of them."""
    sigmas = listed(scheduler.sigmas, len(timesteps)).clone()
    sigmas[1::2] = listed(scheduler.sigmas_interpol, len(timesteps))[1::2]
    return by_sigma(sigmas, timesteps / len(alphas_cumprod))


def of_ancestral_midpoints(scheduler: Any, timesteps: Tensor, alphas_cumprod: Tensor) -> Levels:
    """The same; between a level and the one that a step with fresh noise goes down to first lies the next level."""
    sigmas = listed(scheduler.sigmas, len(timesteps)).clone()
    sigmas[1::2] = sigmas[2::2]
    return by_sigma(sigmas, timesteps / len(alphas_cumprod))


def _timesteps(name: str, scheduler: Any, total: int) -> Tensor:
    times = listed(scheduler.timesteps, len(scheduler.timesteps))
    if not bool(((times >= 0) & (times < total)).all()):
        raise UserError(
            f"{name} would go from t = {times.max():g} to {times.min():g}, but there are 0..{total - 1}: give another "
            "num_sampling_steps, such as 20, 25 or 50, or another steps_offset in config."
        )
    return times


def _check_weights(kind: str, alphas_cumprod: Tensor) -> None:
    if kind == "sample":
        raise UserError("snr_gamma has no weights for prediction_type: sample: leave it out.")
    if kind == "epsilon" and bool(alphas_cumprod[-1] == 0):
        raise UserError(
            "snr_gamma weighs epsilon by min(SNR, gamma) / SNR, and the last step has an SNR of 0: leave it out or set "
            "prediction_type: v_prediction or rescale_betas_zero_snr: false in config."
        )
