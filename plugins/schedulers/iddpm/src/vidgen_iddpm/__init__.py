"""Denoising diffusion in whole steps, with a learned variance (arXiv 2102.09672), and SpeeD's faster training of it.

Offers the schedulers `iddpm` and `iddpm-speed`. Read whenever vidgen starts, so it holds only names and options; the
process lives in `vidgen_iddpm.scheduler`.
"""

from collections.abc import Iterable, Iterator
from math import inf
from typing import Literal

from attrs import frozen
from attrs.validators import and_, ge, lt, matches_re, optional
from vidgen import Component, hookimpl, option
from vidgen.errors import Problem
from vidgen.guidance.options import GuidanceOptions
from vidgen_diffusion.options import cfg_scale

NoiseSchedule = Literal["linear", "squaredcos_cap_v2", "quad", "const", "jsd", "warmup10", "warmup50"]


@frozen(kw_only=True)
class IDDPMOptions(GuidanceOptions):
    """Keys allowed beside `type: iddpm` and `type: iddpm-speed`."""

    num_sampling_steps: int | None = option(
        None, "Steps of the sampler, evenly spaced out of those kept; null takes all.", validator=optional(ge(1))
    )
    cfg_scale: float = cfg_scale(4.0)
    cfg_channel: int | None = option(
        None, "Guide this many first channels; null guides all but the variance.", validator=optional(ge(1))
    )
    sampling_method: Literal["ancestral", "ddim"] = option(
        "ancestral", "How a step goes: with fresh noise (arXiv 2006.11239) or as DDIM (arXiv 2010.02502)."
    )
    eta: float = option(
        0.0, "Share of fresh noise in DDIM steps, 0 or more: 0 is deterministic.", validator=and_(ge(0), lt(inf))
    )
    clip_denoised: bool = option(False, "Clamp predicted data to [-1, 1] in the sampler; for pixels, not for latents.")
    noise_schedule: NoiseSchedule = option("linear", "How much noise each step adds.")
    diffusion_steps: int = option(1000, "Steps from data to pure noise; the model sees their numbers.", validator=ge(1))
    timestep_respacing: str = option(
        "",
        "Steps kept, in training too: how many (`100`), how many of each of several sections (`10,15,20`), or `ddim50` "
        "for an even stride; empty keeps all.",
        validator=matches_re(r"|ddim[1-9]\d*|[1-9]\d*( *, *[1-9]\d*)*"),
    )
    predict_xstart: bool = option(False, "The model predicts the data instead of the noise.")
    learn_sigma: bool = option(True, "The model predicts a variance as well, in a second half of its channels.")
    sigma_small: bool = option(False, "Without learn_sigma: the smaller of the two fixed variances.")
    use_kl: bool = option(False, "Train on the variational bound alone; takes no frame mask.")
    rescale_learned_sigmas: bool = option(False, "Weigh the variational term by (steps kept) / 1000.")

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        if self.timestep_respacing and self.num_sampling_steps is not None:
            hint = "both say how many steps: leave one out"
            yield Problem(("num_sampling_steps",), f"not beside timestep_respacing: {self.timestep_respacing}", (hint,))


@hookimpl
def vidgen_schedulers() -> Iterable[Component]:
    """List the schedulers of this plugin."""
    yield Component(
        name="iddpm",
        summary="Denoising diffusion in whole steps with a learned variance; ancestral or DDIM sampling.",
        options=IDDPMOptions,
        factory="vidgen_iddpm.scheduler:build",
    )
    yield Component(
        name="iddpm-speed",
        summary="The same, trained faster: SpeeD draws and weighs timesteps by how much they teach.",
        options=IDDPMOptions,
        factory="vidgen_iddpm.speed:build",
    )
