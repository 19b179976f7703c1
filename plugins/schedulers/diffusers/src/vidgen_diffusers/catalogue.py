"""Which family serves a class, and which classes draw noise in their steps."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from vidgen.errors import UserError

from vidgen_diffusers.families import Maker
from vidgen_diffusers.paths import circle, cosine, edm, flow
from vidgen_diffusers.tables import of_ancestral_midpoints, of_midpoints, of_ratios, of_sigmas, of_timesteps, table

BY_TIMESTEPS = partial(table, levels=of_timesteps)
BY_RATIOS = partial(table, levels=of_ratios)
BY_SIGMAS = partial(table, levels=of_sigmas, scales=True)

MAKERS: Mapping[str, Maker] = {
    "CogVideoXDDIMScheduler": BY_TIMESTEPS,
    "DDIMScheduler": BY_TIMESTEPS,
    "DDPMScheduler": BY_TIMESTEPS,
    "DDPMWuerstchenScheduler": cosine,
    "DEISMultistepScheduler": BY_RATIOS,
    "DPMSolverMultistepScheduler": BY_RATIOS,
    "DPMSolverSinglestepScheduler": BY_RATIOS,
    "EDMDPMSolverMultistepScheduler": edm,
    "EDMEulerScheduler": edm,
    "EulerAncestralDiscreteScheduler": BY_SIGMAS,
    "EulerDiscreteScheduler": BY_SIGMAS,
    "FlowMapEulerDiscreteScheduler": flow,
    "FlowMatchEulerDiscreteScheduler": flow,
    "FlowMatchHeunDiscreteScheduler": flow,
    "FlowMatchLCMScheduler": flow,
    "HeunDiscreteScheduler": BY_SIGMAS,
    "IPNDMScheduler": circle,
    "KDPM2AncestralDiscreteScheduler": partial(table, levels=of_ancestral_midpoints, scales=True),
    "KDPM2DiscreteScheduler": partial(table, levels=of_midpoints, scales=True),
    "LCMScheduler": BY_TIMESTEPS,
    "LTXEulerAncestralRFScheduler": flow,
    "MiniMaxH3Scheduler": partial(flow, rising=True),
    "PNDMScheduler": BY_TIMESTEPS,
    "SASolverScheduler": BY_RATIOS,
    "TCDScheduler": BY_TIMESTEPS,
    "UniPCMultistepScheduler": BY_RATIOS,
}

NOISY = frozenset(
    {
        "DDPMScheduler",
        "DDPMWuerstchenScheduler",
        "EulerAncestralDiscreteScheduler",
        "FlowMatchLCMScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "LCMScheduler",
        "LTXEulerAncestralRFScheduler",
        "SASolverScheduler",
        "TCDScheduler",
    }
)


def maker(name: str, scheduler: Any) -> Maker:
    """Solvers with a table become those of straight lines when told so. Raises: UserError, when told by half."""
    if not scheduler.config.get("use_flow_sigmas"):
        return MAKERS[name]
    if scheduler.config.prediction_type != "flow_prediction":
        raise UserError(
            f"{name} with use_flow_sigmas: true goes with prediction_type: flow_prediction, not "
            f"{scheduler.config.prediction_type}: set both in config, or neither."
        )
    return flow


def draws_noise(name: str, scheduler: Any) -> bool:
    """Whether the steps take generators, by its class or its arguments."""
    algorithm, sampling = (scheduler.config.get(key) for key in ("algorithm_type", "stochastic_sampling"))
    return name in NOISY or str(algorithm).startswith("sde-") or bool(sampling)
