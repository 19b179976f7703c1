"""Open-Sora-Plan's process: a schedule of noise that ends without signal, sampled by Euler steps with fresh noise.

Offers the scheduler `euler-ancestral`. Read whenever vidgen starts, so it holds only names and options; the process
lives in `vidgen_euler_ancestral.scheduler`.
"""

from collections.abc import Iterable, Iterator
from math import inf
from typing import Literal

from attrs import frozen
from attrs.validators import and_, ge, gt, lt, optional
from vidgen import Component, hookimpl, option
from vidgen.errors import Problem
from vidgen.guidance.options import FINITE, GuidanceOptions
from vidgen_diffusion.options import cfg_scale, num_sampling_steps


@frozen(kw_only=True)
class EulerAncestralOptions(GuidanceOptions):
    """Keys allowed beside `type: euler-ancestral`."""

    num_sampling_steps: int = num_sampling_steps(100)
    cfg_scale: float = cfg_scale(7.5)
    prediction_type: Literal["v_prediction", "epsilon", "sample"] = option(
        "v_prediction", "What the model predicts: v, alpha noise - sigma data; the noise; or the data."
    )
    beta_schedule: Literal["linear", "scaled_linear"] = option(
        "linear", "How the variance added in each step rises: evenly, or its root evenly."
    )
    beta_start: float = option(0.0001, "Variance added in the first step, 0 to 1.", validator=and_(gt(0), lt(1)))
    beta_end: float = option(0.02, "Variance added in the last step, 0 to 1.", validator=and_(gt(0), lt(1)))
    num_train_timesteps: int = option(
        1000, "Steps from data to noise, 2 or more; the model sees their numbers.", validator=ge(2)
    )
    rescale_betas_zero_snr: bool = option(True, "Leave no signal in the last step (arXiv 2305.08891, section 3.1).")
    timestep_spacing: Literal["trailing", "leading", "linspace"] | None = option(
        None,
        "Steps taken in sampling: from the last, to the first, or both; null: trailing with zero SNR, else leading.",
    )
    steps_offset: int = option(0, "Added to the steps of leading spacing, 0 or more.", validator=ge(0))
    snr_gamma: float | None = option(
        None,
        "Weigh losses by min(SNR, this) / SNR, of v by min(SNR, this) / (SNR + 1), above 0; null: evenly.",
        validator=optional(and_(gt(0), lt(inf))),
    )
    noise_offset: float = option(
        0.0, "In training, how much of one more number per sample and channel the noise has on top.", validator=FINITE
    )
    timestep_sampling: Literal["uniform", "stratified"] = option(
        "uniform", "Steps drawn in training: out of all, or on each rank out of a share of its own."
    )

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        if self.snr_gamma is not None and self.prediction_type == "sample":
            hint = "leave snr_gamma out, or set prediction_type: v_prediction or epsilon"
            yield Problem(("snr_gamma",), "has no weights for prediction_type: sample", (hint,))
        if self.snr_gamma is not None and self.prediction_type == "epsilon" and self.rescale_betas_zero_snr:
            hint = "set prediction_type: v_prediction, or rescale_betas_zero_snr: false, or leave snr_gamma out"
            text = "the weight of epsilon is min(SNR, gamma) / SNR, and the last step has an SNR of 0"
            yield Problem(("snr_gamma",), text, (hint,))


@hookimpl
def vidgen_schedulers() -> Iterable[Component]:
    """List the schedulers of this plugin."""
    yield Component(
        name="euler-ancestral",
        summary="Open-Sora-Plan's process: v prediction, zero terminal SNR, Euler steps with fresh noise.",
        options=EulerAncestralOptions,
        factory="vidgen_euler_ancestral.scheduler:build",
    )
