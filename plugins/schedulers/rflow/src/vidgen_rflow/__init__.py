"""Rectified flow: straight paths from noise to data, learned as a velocity (arXiv 2209.03003).

Offers the scheduler `rflow`. Read whenever vidgen starts, so it holds only names and options; the process lives in
`vidgen_rflow.scheduler`.
"""

from collections.abc import Iterable
from math import inf
from typing import Literal

from attrs import frozen
from attrs.validators import and_, ge, gt, in_, lt
from vidgen import Component, hookimpl, option
from vidgen.guidance.options import FINITE, GuidanceOptions
from vidgen_diffusion.options import cfg_scale, num_sampling_steps


@frozen(kw_only=True)
class RFlowOptions(GuidanceOptions):
    """Keys allowed beside `type: rflow`."""

    num_sampling_steps: int = num_sampling_steps(10)
    cfg_scale: float = cfg_scale(4.0)
    num_timesteps: int = option(
        1000, "Units of time from data (0) to pure noise; what the model sees as t.", validator=ge(1)
    )
    use_discrete_timesteps: bool = option(False, "Train and sample on whole numbers of t; needs `uniform`.")
    use_timestep_transform: bool = option(
        False, "Shift t towards noise for large and long clips; needs 1 frame or at least 17."
    )
    sample_method: Literal["uniform", "logit-normal"] = option(
        "uniform", "How t is drawn in training.", validator=in_(("uniform", "logit-normal"))
    )
    loc: float = option(
        0.0,
        "Mean of the normal behind a logit-normal t; above 0 is noisier.",
        validator=FINITE,
    )
    scale: float = option(
        1.0, "Standard deviation of the normal behind a logit-normal t, above 0.", validator=and_(gt(0), lt(inf))
    )
    transform_scale: float = option(
        1.0, "Factor on the shift in training, above 0; the sampler always uses 1.", validator=and_(gt(0), lt(inf))
    )


@hookimpl
def vidgen_schedulers() -> Iterable[Component]:
    """List the schedulers of this plugin."""
    yield Component(
        name="rflow",
        summary="Rectified flow: learns the velocity from noise to data, samples with Euler steps.",
        options=RFlowOptions,
        factory="vidgen_rflow.scheduler:build",
    )
