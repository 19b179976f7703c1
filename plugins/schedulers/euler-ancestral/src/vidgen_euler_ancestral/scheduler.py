"""The process: its training loss and its sampler.

Letters: B samples, C channels, T H W latent frames/rows/columns, S steps of the sampler, N of the process. Time t runs
from 0 (data) to N - 1 (noise).
"""

from collections.abc import Callable, Mapping
from math import inf

import torch
from torch import Tensor
from vidgen.errors import UserError
from vidgen.guidance.denoiser import Denoiser, guide
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_diffusion import checks
from vidgen_diffusion.frames import GivenFrames
from vidgen_diffusion.loss import DenoisingLoss
from vidgen_diffusion.step_noise import StepNoise

from vidgen_euler_ancestral import EulerAncestralOptions, table
from vidgen_euler_ancestral.course import Course, course, falls, sigmas_at
from vidgen_euler_ancestral.spacing import bounds, timesteps

Progress = Callable[[int, int], None]


class EulerAncestral:
    """See `vidgen.interfaces.Scheduler` and the options for every attribute's meaning.

    betas: (N,) float32. loss: what training minimises, with the schedule of noise in it.

    Sources: arXiv 2006.11239; zero terminal SNR arXiv 2305.08891; v prediction arXiv 2202.00512, appendix D.
    """

    def __init__(self, options: EulerAncestralOptions, rank: int = 0, ranks: int = 1) -> None:
        self.options = options
        self.prediction_type = options.prediction_type
        self.cfg_scale = options.cfg_scale
        self.num_sampling_steps = options.num_sampling_steps
        total, zero_snr = options.num_train_timesteps, options.rescale_betas_zero_snr
        self.betas = table.betas(options.beta_schedule, options.beta_start, options.beta_end, total, zero_snr=zero_snr)
        shares = table.alphas_cumprod(self.betas)
        self.sigmas: list[float] = table.sigmas(shares).tolist()
        self.spacing = options.timestep_spacing or ("trailing" if zero_snr else "leading")
        self.loss = DenoisingLoss(
            alphas_cumprod=shares,
            kind=options.prediction_type,
            bounds=bounds(rank, ranks, total) if options.timestep_sampling == "stratified" else (0, total - 1),
            snr_gamma=options.snr_gamma,
            noise_offset=options.noise_offset,
            of_batch=True,
        )

    def training_losses(
        self,
        model: Denoiser,
        x: Tensor,
        conditioning: Mapping[str, Tensor],
        *,
        draws: Draws | None = None,
        mask: Tensor | None = None,
        noise: Tensor | None = None,
        t: Tensor | None = None,
        valid: Tensor | None = None,
        sizes: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Squared error of the prediction at a step per sample, averaged over the frames that are learned.

        x: clean latents (B, C, T, H, W). mask: (B, T) bool, true where a frame is noised and learned; the others reach
        the model clean. noise: of x's shape, used as given, without `noise_offset`. t: (B,) int64 in 0..N-1. draws: for
        t (purpose `timestep`), noise (`noise`) and what is added to it (`noise offset`), when they are not given.
        valid: (B, T, H, W), 1 where latents are no padding, else 0; the mean over the batch is then the one over what
        is valid in it.

        Returns `loss` (B,); NaN for a sample without a true frame in its mask. Raises: UserError.
        """
        return self.loss(model, x, conditioning, draws=draws, mask=mask, noise=noise, t=t, valid=valid)

    @torch.no_grad()
    def sample(
        self,
        model: Denoiser,
        z: Tensor,
        conditioning: Mapping[str, Tensor],
        null_conditioning: Mapping[str, Tensor] | None = None,
        guidance: float | None = None,
        *,
        draws: Draws | None = None,
        mask: Tensor | None = None,
        steps: int | None = None,
        progress: Progress | None = None,
        sizes: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Go from noise to data in Euler steps, each of which goes too far and makes up for it with fresh noise.

        z: standard normal noise (B, C, T, H, W), with given clean frames in their place where mask < 1. mask: (B, T) in
        [0, 1]: 1 generate, 0 keep, between: the model sees the frame clean until t is down to that share of N, from
        then on as its own noise would have left it. draws: the fresh noise (purpose `step`), and that of edited frames
        (`edited`). progress(i, n): called after step i of n.

        Returns clean latents of z's shape and dtype; kept frames come back bit for bit. Raises: UserError.
        """
        course = self.course(self.num_sampling_steps if steps is None else steps)
        times = torch.tensor([step.time for step in course.steps])
        total = self.options.num_train_timesteps
        denoiser = guide(
            model,
            conditioning,
            null_conditioning,
            self.cfg_scale if guidance is None else guidance,
            z.shape[1],
            options=self.options,
            times=times.double() / total,
            rest=False,
        )
        x = z.to(torch.promote_types(z.dtype, torch.float32))  # small steps would be lost in half precision
        frames = None if mask is None else GivenFrames(mask, x, times, total, draws)
        told = times.to(z.device)[:, None].expand(-1, len(z)).unbind()
        random = [i for i, step in enumerate(course.steps) if step.of_noise]
        noise = StepNoise(checks.drawn(draws, len(z), "fresh noise"), x, random) if random else None
        x = _beginning(course, x, frames)
        for i, step in enumerate(course.steps):
            shown = x if frames is None else frames.shown(i, x)
            x_mask = None if frames is None else frames.active[i]
            output = denoiser(shown.to(z.dtype), told[i], x_mask=x_mask, step=i)[:, : z.shape[1]].to(x.dtype)
            fresh = noise(i) if noise is not None and step.of_noise else None
            if frames is None:
                x = step.by_output(x, output, fresh)
            else:
                x = step.by_data(x, frames.data(i, step.data(x, output)), fresh)
            if progress is not None:
                progress(i + 1, len(course.steps))
        return (x if frames is None else frames.finish(x)).to(z.dtype)

    def course(self, steps: int) -> Course:
        """What a sampler with so many steps does. Raises: UserError, where the noise would not fall in every step."""
        checks.steps(steps, most=self.options.num_train_timesteps)
        times = self._times(steps)
        if times[0] >= len(self.sigmas):
            raise UserError(
                f"steps_offset: {self.options.steps_offset} puts the first of {steps} sampling steps at t = "
                f"{times[0]:g}, but the process ends at {len(self.sigmas) - 1}: lower steps_offset, or take another "
                "num_sampling_steps."
            )
        sigmas = sigmas_at(times, self.sigmas)
        if not falls(sigmas):
            most = next(n for n in range(steps - 1, 0, -1) if falls(sigmas_at(self._times(n), self.sigmas)))
            raise UserError(
                f"with {steps} sampling steps the noise does not fall in each of them, as it has to; a process with "
                f"zero SNR counts as having {self.sigmas[-1]:g} times as much noise as data in its last step, and even "
                f"more just before it: give num_sampling_steps of 1 to {most}."
            )
        return course(self.options.prediction_type, times, sigmas, leading=self.spacing == "leading")

    def _times(self, steps: int) -> list[float]:
        return timesteps(self.spacing, steps, self.options.num_train_timesteps, self.options.steps_offset)


def _beginning(course: Course, z: Tensor, frames: GivenFrames | None) -> Tensor:
    """Noise and given frames as far from data as the first step takes them to be."""
    if frames is None:
        return course.start * z
    first = course.steps[0]
    return course.start * frames.start(first.alpha / course.start, first.sigma / course.start)


def build(options: EulerAncestralOptions, context: Context) -> EulerAncestral:
    """The scheduler of this rank. Raises: UserError, for a schedule of noise or a number of steps that cannot be."""
    process = EulerAncestral(options, context.rank, context.num_ranks)
    if not all(0 < sigma < inf for sigma in process.sigmas):
        raise UserError(
            f"betas from {options.beta_start} to {options.beta_end} leave no noise in the first, or no signal long "
            f"before the last, of {options.num_train_timesteps} steps, in float32: take a beta_start of 1e-6 or more, "
            "and a smaller beta_end or num_train_timesteps."
        )
    process.course(options.num_sampling_steps)
    return process
