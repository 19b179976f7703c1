"""DPM-Solver and DPM-Solver++: denoising diffusion sampled in a few steps (arXiv 2206.00927, 2211.01095).

Offers the scheduler `dpm-solver`. Read whenever vidgen starts, so it holds only names and options; the process lives in
`vidgen_dpm_solver.scheduler`.
"""

from collections.abc import Iterable, Iterator
from math import inf
from typing import Literal

from attrs import frozen
from attrs.validators import and_, ge, gt, in_, le, lt
from vidgen import Component, hookimpl, option
from vidgen.errors import Problem
from vidgen.guidance.options import GuidanceOptions
from vidgen_diffusion.options import cfg_scale, num_sampling_steps

NoiseSchedule = Literal["linear", "squaredcos_cap_v2", "quad", "const", "jsd", "warmup10", "warmup50"]


@frozen(kw_only=True)
class DPMSolverOptions(GuidanceOptions):
    """Keys allowed beside `type: dpm-solver`."""

    num_sampling_steps: int = num_sampling_steps(20)
    cfg_scale: float = cfg_scale(4.0)
    noise_schedule: NoiseSchedule = option("linear", "How much noise each step of training adds.")
    diffusion_steps: int = option(
        1000, "Steps of training from data to pure noise; what the model sees as t runs up to here.", validator=ge(2)
    )
    algorithm_type: Literal["dpmsolver++", "dpmsolver"] = option(
        "dpmsolver++", "What is integrated: the predicted data (dpmsolver++; for guidance) or noise (dpmsolver)."
    )
    order: int = option(
        2,
        "How many predictions a step combines, 1 to 3; 2 for guided, 3 for unguided sampling.",
        validator=in_((1, 2, 3)),
    )
    method: Literal["multistep", "singlestep"] = option(
        "multistep", "Where the further predictions come from: from the steps before, or from within the step."
    )
    skip_type: Literal["time_uniform", "time_quadratic", "logSNR"] = option(
        "time_uniform", "How steps are spaced: evenly in time, in the root of time, or in log SNR."
    )
    solver_type: Literal["dpmsolver", "taylor"] = option(
        "dpmsolver", "The formula of order 2, and of order 3 in singlestep; dpmsolver is the steadier one."
    )
    prediction_type: Literal["epsilon", "sample", "v_prediction", "score"] = option(
        "epsilon", "What the model predicts: the noise, the data, v (arXiv 2202.00512) or the score."
    )
    lower_order_final: bool = option(
        True, "With fewer than 10 multistep steps, end on lower orders; singlestep always ends as published."
    )
    denoise_to_zero: bool = option(False, "Return the data predicted at the last time: one more call of the model.")
    thresholding: bool = option(
        False, "Clip predicted data by dynamic thresholding (arXiv 2205.11487); for pixels, not for latents."
    )
    dynamic_thresholding_ratio: float = option(
        0.995, "Share of a sample's values that thresholding leaves as they are, above 0.", validator=and_(gt(0), le(1))
    )
    thresholding_max_val: float = option(
        1.0, "Values up to this size are never clipped by thresholding, above 0.", validator=and_(gt(0), lt(inf))
    )

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        if self.thresholding and self.algorithm_type == "dpmsolver":
            hint = "thresholding clips predicted data: set algorithm_type: dpmsolver++, or thresholding: false"
            yield Problem(("thresholding",), "not with algorithm_type: dpmsolver", (hint,))
        if self.method == "multistep" and self.num_sampling_steps < self.order:
            hint = f"give {self.order} or more, a lower order, or method: singlestep"
            text = f"{self.num_sampling_steps} steps are too few for method: multistep of order {self.order}"
            yield Problem(("num_sampling_steps",), text, (hint,))


@hookimpl
def vidgen_schedulers() -> Iterable[Component]:
    """List the schedulers of this plugin."""
    yield Component(
        name="dpm-solver",
        summary="Denoising diffusion sampled in 10 to 30 steps by DPM-Solver or DPM-Solver++.",
        options=DPMSolverOptions,
        factory="vidgen_dpm_solver.scheduler:build",
    )
