"""diffusers' schedulers in the loop that pipelines put around them, with guidance, for vidgen's to be measured against.

Each is made for a number of steps, and set to define what vidgen's does, up to a sign of the velocity. One cannot be:
`DPMSolverMultistepScheduler` rounds its times to whole steps of training. Its work is the same, its result only where
those times are whole anyway, as with 27 steps.
"""

from typing import Any

import torch
from torch import Tensor

from vidgen_bench.sampling import Given, Sampling


def ddpm(steps: int) -> Sampling:
    """Ancestral sampling with a learned range of the variance."""
    from diffusers import DDPMScheduler

    scheduler: Any = DDPMScheduler(
        beta_schedule="linear", variance_type="learned_range", clip_sample=False, timestep_spacing="linspace"
    )

    @torch.no_grad()
    def sample(given: Given) -> Tensor:
        scheduler.set_timesteps(steps)
        x, y = given.z, torch.cat([given.null_y, given.y])
        for t in scheduler.timesteps:
            out = given.model(torch.cat([x, x]), t.expand(2 * len(x)), y=y)
            variance = out.chunk(2)[1][:, x.shape[1] :]
            eps = guided(out[:, : x.shape[1]], given.scale)
            x = scheduler.step(torch.cat([eps, variance], dim=1), t, x, generator=given.generator).prev_sample
        return x

    return sample


def dpm_solver(steps: int) -> Sampling:
    """DPM-Solver++ of order 2 in several steps."""
    from diffusers import DPMSolverMultistepScheduler

    return _first_channels(
        DPMSolverMultistepScheduler(beta_schedule="linear", solver_order=2, final_sigmas_type="sigma_min"), steps
    )


def euler_ancestral(steps: int) -> Sampling:
    """With zero terminal SNR and a model of v."""
    from diffusers import EulerAncestralDiscreteScheduler

    scheduler = EulerAncestralDiscreteScheduler(
        beta_schedule="linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    return _first_channels(scheduler, steps)


def flow_match(steps: int) -> Sampling:
    """Euler steps of rectified flow; the model predicts noise - data."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler: Any = FlowMatchEulerDiscreteScheduler()

    @torch.no_grad()
    def sample(given: Given) -> Tensor:
        scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
        x, y = given.z, torch.cat([given.null_y, given.y])
        for t in scheduler.timesteps:
            out = given.model(torch.cat([x, x]), t.expand(2 * len(x)), y=y)
            x = scheduler.step(guided(out[:, : x.shape[1]], given.scale), t, x).prev_sample
        return x

    return sample


def guided(out: Tensor, scale: float) -> Tensor:
    """(2 B, ...), unconditional first, to (B, ...)."""
    unconditional, conditional = out.chunk(2)
    return unconditional + scale * (conditional - unconditional)


def _first_channels(scheduler: Any, steps: int) -> Sampling:
    """The loop around schedulers that may scale what the model sees."""

    @torch.no_grad()
    def sample(given: Given) -> Tensor:
        scheduler.set_timesteps(steps)
        x, y = given.z * scheduler.init_noise_sigma, torch.cat([given.null_y, given.y])
        for t in scheduler.timesteps:
            shown = scheduler.scale_model_input(torch.cat([x, x]), t)
            out = given.model(shown, t.expand(len(shown)), y=y)
            x = scheduler.step(guided(out[:, : x.shape[1]], given.scale), t, x, generator=given.generator).prev_sample
        return x

    return sample
