"""The process: its training loss and its sampler, which follows a plan made before the first step.

Letters: B samples, C channels, T H W latent frames/rows/columns. The first C channels of the model are its prediction,
whatever follows is ignored.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor
from vidgen.errors import UserError
from vidgen.guidance.denoiser import Denoiser, guide
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_diffusion import checks
from vidgen_diffusion.betas import named_betas
from vidgen_diffusion.frames import GivenFrames, over_latents
from vidgen_diffusion.loss import DenoisingLoss

from vidgen_dpm_solver import DPMSolverOptions
from vidgen_dpm_solver.plan import Call, make_plan
from vidgen_dpm_solver.schedule import NoiseSchedule
from vidgen_dpm_solver.thresholding import thresholded


class DPMSolver:
    """Denoising diffusion, trained in whole steps and sampled in continuous time; see `vidgen.interfaces.Scheduler` and
    the options for every attribute's meaning.

    schedule: of noise, in continuous time. Sources: arXiv 2206.00927, 2211.01095.
    """

    def __init__(self, options: DPMSolverOptions) -> None:
        """Raises: UserError, for a schedule without two levels of noise."""
        self.options = options
        self.prediction_type = options.prediction_type
        self.cfg_scale = options.cfg_scale
        self.num_sampling_steps = options.num_sampling_steps
        betas = named_betas(options.noise_schedule, options.diffusion_steps)
        self.schedule = NoiseSchedule(betas)
        if betas.max() > 1 or self.schedule.num_levels < 2:
            raise UserError(
                f"noise_schedule: {options.noise_schedule} turns data into noise too fast in diffusion_steps: "
                f"{options.diffusion_steps}: give more steps, such as 1000."
            )
        self._loss = None
        if options.prediction_type != "score":
            levels = (1 - betas).cumprod(0)
            self._loss = DenoisingLoss(alphas_cumprod=levels, kind=options.prediction_type, bounds=(0, len(betas) - 1))

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
        """Squared error of the prediction at a whole step per sample, averaged over the frames that are learned.

        See `vidgen_diffusion.loss.DenoisingLoss`. t: (B,) int64 in 0..diffusion_steps - 1. Returns `loss` (B,). Raises:
        UserError, also for a model of the score.
        """
        if self._loss is None:
            raise UserError(
                "prediction_type: score is for sampling a model that was trained elsewhere: to train one, set "
                "prediction_type: epsilon, sample or v_prediction."
            )
        return self._loss(model, x, conditioning, draws=draws, mask=mask, noise=noise, t=t, valid=valid)

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
        progress: Callable[[int, int], None] | None = None,
        sizes: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Solve from noise to data; all times and weights are known before the first call of the model.

        z: standard normal noise (B, C, T, H, W), with given clean frames in their place where mask < 1. conditioning:
        what the model takes, and nothing else. mask: (B, T) in [0, 1]: 1 generate, 0 keep, between: the frame stays as
        it is until the time is down to that share of the whole, and joins with noise of that level. draws: the noise of
        such frames (purpose `edited`). steps: calls of the model. progress(i, n): called after call i of n; that of
        `denoise_to_zero` is not counted.

        Returns clean latents of z's shape and dtype; kept frames come back bit for bit. Raises: UserError.
        """
        steps = self.num_sampling_steps if steps is None else steps
        check_steps(self.options, steps)
        plan = make_plan(self.schedule, self.options, steps)
        denoiser = guide(
            model,
            conditioning,
            null_conditioning,
            self.cfg_scale if guidance is None else guidance,
            z.shape[1],
            options=self.options,
            times=[call.level.t for call in plan],
            rest=False,
        )
        frames = None
        if mask is not None:
            times = torch.tensor([call.level.timestep for call in plan], device="cpu")
            frames = GivenFrames(mask, z.to(_state_dtype(z)), times, self.schedule.num_timesteps, draws)
        return self._follow(plan, denoiser, z, frames, progress)

    def _follow(
        self,
        plan: Sequence[Call],
        denoiser: Denoiser,
        z: Tensor,
        frames: GivenFrames | None,
        progress: Callable[[int, int], None] | None,
    ) -> Tensor:
        dtype, channels, steps = z.dtype, z.shape[1], len(plan) - self.options.denoise_to_zero
        first = plan[0].level
        x = z.to(_state_dtype(z)) if frames is None else frames.start(first.alpha, first.sigma)
        times = torch.tensor([call.level.timestep for call in plan], dtype=x.dtype, device=x.device)
        base, values = x, list[Tensor]()
        for i, (call, t) in enumerate(zip(plan, times[:, None].expand(-1, len(x)).unbind(), strict=True)):
            shown, x_mask = (x, None) if frames is None else (frames.shown(i, x), frames.active[i])
            answer = denoiser(shown.to(dtype), t, x_mask=x_mask, step=i)[:, :channels].to(x.dtype)
            values = [self._value(i, call, x, answer, frames), *values[: self.options.order - 1]]
            base = x if call.opens else base
            x = weighted_sum([(call.ratio, base), *zip(call.weights, values, strict=False)])
            if progress is not None and i < steps:
                progress(i + 1, steps)
        return (x if frames is None else frames.finish(x)).to(dtype)

    def _value(self, i: int, call: Call, x: Tensor, answer: Tensor, frames: GivenFrames | None) -> Tensor:
        """What the model's answer at state x stands for; of given frames, what is known."""
        value = weighted_sum(zip(call.to_value, (x, answer), strict=True))
        if frames is not None:
            value = _with_known(frames, i, call, x, value)
        if not self.options.thresholding:
            return value
        options = self.options
        clipped = thresholded(value, options.dynamic_thresholding_ratio, options.thresholding_max_val)
        return clipped if frames is None else frames.data(i, clipped)


def weighted_sum(parts: Iterable[tuple[float, Tensor]]) -> Tensor:
    """A new tensor; parts of weight 0 cost nothing. The first sets the dtype."""
    (weight, first), *others = [part for part in parts if part[0]]
    total = first * weight
    for weight, other in others:
        total.add_(other, alpha=weight)
    return total


def check_steps(options: DPMSolverOptions, steps: int) -> None:
    """Raises: UserError, for fewer than one step, or fewer than multistep looks back on."""
    checks.steps(steps)
    if options.method == "multistep" and steps < options.order:
        raise UserError(
            f"{steps} sampling steps are too few for method: multistep of order {options.order}: give "
            f"num_sampling_steps of {options.order} or more, a lower order, or method: singlestep."
        )


def _with_known(frames: GivenFrames, i: int, call: Call, x: Tensor, value: Tensor) -> Tensor:
    if call.data:
        return frames.data(i, value)
    noise = (x - call.level.alpha * frames.clean) / call.level.sigma
    return torch.where(over_latents(frames.active[i]), value, noise)


def _state_dtype(z: Tensor) -> torch.dtype:
    return torch.promote_types(z.dtype, torch.float32)  # small steps would be lost in half precision


def build(options: DPMSolverOptions, context: Context) -> DPMSolver:
    """The scheduler. Raises: UserError, for a noise schedule that cannot be sampled."""
    return DPMSolver(options)
