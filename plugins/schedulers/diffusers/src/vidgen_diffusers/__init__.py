"""The schedulers of the library diffusers, by the names of its classes.

Offers `diffusers/<class>` for every class in `NAMES`. Read whenever vidgen starts, so it holds only names and options,
one class of options for all; what is built lies in `vidgen_diffusers.scheduler`.
"""

from collections.abc import Iterable
from math import inf
from typing import Any, Literal

from attrs import frozen
from attrs.validators import and_, gt, lt, optional
from vidgen import Component, hookimpl, option
from vidgen.guidance.options import FINITE, GuidanceOptions
from vidgen_diffusion.options import cfg_scale, num_sampling_steps

NAMES = (
    "CogVideoXDDIMScheduler",
    "DDIMScheduler",
    "DDPMScheduler",
    "DDPMWuerstchenScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMapEulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "HeunDiscreteScheduler",
    "IPNDMScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LTXEulerAncestralRFScheduler",
    "MiniMaxH3Scheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)
"""Classes whose sampler is a loop over timesteps with one prediction of continuous latents in each."""


@frozen(kw_only=True)
class DiffusersOptions(GuidanceOptions):
    """Keys allowed beside `type: diffusers/<class>`."""

    num_sampling_steps: int = num_sampling_steps(50)
    cfg_scale: float = cfg_scale(7.5)
    config: dict[str, Any] = option(
        {},
        "Keyword arguments of the class, as in diffusers' own files; also `mu`, where its timesteps are shifted by it. "
        "Where silent: the class's defaults, but clip_sample: false, because latents are no pixels.",
    )
    snr_gamma: float | None = option(
        None,
        "Weigh losses by min(SNR, this) / SNR, of v by min(SNR, this) / (SNR + 1), above 0; null: evenly.",
        validator=optional(and_(gt(0), lt(inf))),
    )
    noise_offset: float = option(
        0.0, "In training, how much of one more number per sample and channel the noise has on top.", validator=FINITE
    )
    flow_target: Literal["velocity", "flow"] = option(
        "velocity", "What flow-matching models predict: data - noise; or noise - data, as diffusers' own do."
    )
    sample_method: Literal["uniform", "logit-normal"] = option(
        "uniform", "How the level of noise is drawn in training, where it is not a whole step."
    )
    loc: float = option(0.0, "Mean of the normal behind a logit-normal level; above 0 is noisier.", validator=FINITE)
    scale: float = option(
        1.0, "Standard deviation of the normal behind a logit-normal level, above 0.", validator=and_(gt(0), lt(inf))
    )
    loss_weighting: Literal["none", "sigma_sqrt", "cosmap"] = option(
        "none", "Weight on losses of flow matching at noise s: 1, 1 / s^2, or 2 / (pi (1 - 2 s + 2 s^2))."
    )


@hookimpl
def vidgen_schedulers() -> Iterable[Component]:
    """List the schedulers of this plugin."""
    for name in NAMES:
        yield Component(
            name=f"diffusers/{name}",
            summary=f"{name} of the library diffusers.",
            options=DiffusersOptions,
            factory=f"vidgen_diffusers.factories:{name}",
        )
