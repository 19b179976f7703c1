"""The process: its training loss and its samplers.

Letters: B samples, C channels, T H W latent frames/rows/columns, S steps kept. t counts the steps kept, 0 (data) to
S - 1 (noise); the model is told their numbers in the whole process.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from vidgen.errors import UserError
from vidgen.guidance.denoiser import Denoiser, guide
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_diffusion import checks
from vidgen_diffusion.betas import named_betas
from vidgen_diffusion.frames import mean_of_frames, over_latents
from vidgen_diffusion.padding import noise_for

from vidgen_iddpm import IDDPMOptions
from vidgen_iddpm.descent import Descent, times_of
from vidgen_iddpm.frames import JoiningFrames
from vidgen_iddpm.gaussian import Gaussian, GaussianDiffusion, Level, add_noise, noise_from_data
from vidgen_iddpm.likelihood import BITS, normal_kl
from vidgen_iddpm.losses import Counted, bound_term, halves, step_distribution
from vidgen_iddpm.respacing import kept_steps
from vidgen_iddpm.steps import Step, Steps

Progress = Callable[[int, int], None]


class IDDPM:
    """See `vidgen.interfaces.Scheduler` and the options for every attribute's meaning.

    Sources: arXiv 2006.11239, arXiv 2102.09672 (variance, respacing), arXiv 2010.02502 (DDIM).
    """

    def __init__(self, options: IDDPMOptions) -> None:
        self.options = options
        self.prediction_type = "sample" if options.predict_xstart else "epsilon"
        self.cfg_scale = options.cfg_scale
        whole = GaussianDiffusion(
            named_betas(options.noise_schedule, options.diffusion_steps),
            range(options.diffusion_steps),
            sigma_small=options.sigma_small,
        )
        self.process = whole.respaced(kept_steps(options.diffusion_steps, options.timestep_respacing))
        self.num_sampling_steps = options.num_sampling_steps or len(self.process)

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
        weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Squared error of the predicted noise (or data) at a step per sample, plus the variational term of a learned
        variance, whose gradient reaches the variance alone; or that bound alone (use_kl).

        x: clean latents (B, C, T, H, W). mask: (B, T) bool, true where a frame is noised and learned; the others reach
        the model at the lowest level of noise. t: (B,) int64 in 0..S-1, used as given. valid: (B, T, H, W) bool, true
        where a latent is no padding; only those count. weights: (S,), a factor on the squared error for each t.

        Returns `loss` (B,) and its parts `mse` and `vb` (bits per element), each (B,); NaN for a sample without a true
        frame in its mask. Raises: UserError.
        """
        t = self._checked_times(x, t, draws, mask)
        if valid is not None:
            checks.padding(valid, x)
        if noise is None:
            noise = noise_for(checks.drawn(draws, len(x), "noise"), x, valid)
        checks.same_shape("noise", noise, x)
        clean = x.to(torch.promote_types(x.dtype, torch.float32))
        level = self.process.level(t, clean)
        x_t = add_noise(clean, noise, level)
        if mask is not None:
            x_t = torch.where(over_latents(mask), x_t, add_noise(clean, noise, self.process.level(0 * t, clean)))
        denoiser = guide(model, conditioning, None, 1.0, x.shape[1])
        out = denoiser(x_t.to(x.dtype), self._model_times(t), x_mask=mask).to(clean.dtype)
        counted = Counted(mask, None if valid is None else valid.to(x.device))
        return self._losses(clean, noise, x_t, out, t=t, level=level, counted=counted, weights=weights)

    def draw_timesteps(self, draws: Draws, device: torch.device | str = "cpu") -> Tensor:
        """Steps for training, (B,) int64 in 0..S-1: evenly."""
        return draws.integers("timestep", len(self.process), device=device)

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
        """Step by step from noise to data; every step's numbers are worked out before the first one.

        z: standard normal noise (B, C, T, H, W), with given clean frames in their place where mask < 1. mask: (B, T) in
        [0, 1]: 1 generate, 0 keep, between edit; see `JoiningFrames`: kept frames come back but for the lowest level of
        noise. draws: noise of random steps (purpose `step`) and of given frames (`given`), by step of the process.
        progress(i, n): called after step i of n.

        Returns latents of z's shape and dtype. Raises: UserError.
        """
        process = self._process(self.num_sampling_steps if steps is None else steps)
        denoiser = guide(
            model,
            conditioning,
            null_conditioning,
            self.cfg_scale if guidance is None else guidance,
            self._guided_channels(z.shape[1]),
            options=self.options,
            times=[(number + 1) / self.options.diffusion_steps for number in process.timesteps],
        )
        frames = None if mask is None else JoiningFrames(mask, z, len(process), draws)
        descent = Descent(denoiser, process, self.steps_of(process), z, draws, frames)
        x = z.to(torch.promote_types(z.dtype, torch.float32))  # small steps would be lost in half precision
        for done, i in enumerate(reversed(range(len(process))), start=1):
            x = descent.step(i, x)
            if progress is not None:
                progress(done, len(process))
        return x.to(z.dtype)

    @torch.no_grad()
    def invert(
        self,
        model: Denoiser,
        x: Tensor,
        conditioning: Mapping[str, Tensor],
        *,
        steps: int | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """The noise that DDIM at eta 0 leads back to x (arXiv 2010.02502, section 4.3), up to its step length.

        x: clean latents (B, C, T, H, W). Returns latents of x's shape and dtype. Raises: UserError.
        """
        process = self._process(self.num_sampling_steps if steps is None else steps)
        denoiser = guide(model, conditioning, None, 1.0, x.shape[1])
        times = times_of(process, x)
        at = x.to(torch.promote_types(x.dtype, torch.float32))
        for i, step in enumerate(self._steps(process).inversion()):
            at = step.take(at, denoiser(at.to(x.dtype), times[i]), None)
            if progress is not None:
                progress(i + 1, len(process))
        return at.to(x.dtype)

    @torch.no_grad()
    def bits_per_dim(
        self,
        model: Denoiser,
        x: Tensor,
        conditioning: Mapping[str, Tensor],
        draws: Draws,
        *,
        clip_denoised: bool = True,
    ) -> dict[str, Tensor]:
        """The variational bound in bits per element (arXiv 2006.11239, equation 5), with fresh noise in each step.

        Returns `total_bpd` and `prior_bpd` (B,), and by step in the order of sampling (B, S): `vb`, `xstart_mse` and
        `mse`, the squared errors of predicted data and noise. Raises: UserError.
        """
        checks.drawn(draws, len(x), "noise")
        parts: dict[str, list[Tensor]] = {"vb": [], "xstart_mse": [], "mse": []}
        for i in reversed(range(len(self.process))):
            t = torch.full((len(x),), i, device=x.device)
            noise = draws.normal("noise", x.shape[1:], device=x.device, step=i)
            level = self.process.level(t, x)
            x_t = add_noise(x, noise, level)
            out = model(x_t, self._model_times(t), **conditioning)
            p, data = self.step_distribution(out, x_t, level, clip=clip_denoised)
            parts["vb"].append(bound_term(x, x_t, p, t, level, Counted()))
            parts["xstart_mse"].append(mean_of_frames((data - x).square(), None))
            parts["mse"].append(mean_of_frames((noise_from_data(x_t, data, level) - noise).square(), None))
        by_step = {name: torch.stack(values, dim=1) for name, values in parts.items()}
        prior = self._prior(x)
        return {**by_step, "prior_bpd": prior, "total_bpd": by_step["vb"].sum(dim=1) + prior}

    def steps_of(self, process: GaussianDiffusion) -> list[Step]:
        """Of the sampler that the options choose, by t."""
        steps = self._steps(process)
        if self.options.sampling_method == "ddim":
            return steps.ddim(self.options.eta)
        return steps.ancestral(learned=self.options.learn_sigma)

    def _steps(self, process: GaussianDiffusion) -> Steps:
        return Steps(process, predict_xstart=self.options.predict_xstart, clip=self.options.clip_denoised)

    def _losses(
        self,
        x: Tensor,
        noise: Tensor,
        x_t: Tensor,
        out: Tensor,
        *,
        t: Tensor,
        level: Level,
        counted: Counted,
        weights: Tensor | None,
    ) -> dict[str, Tensor]:
        if self.options.use_kl:
            p, _ = self.step_distribution(out, x_t, level)
            return {"loss": bound_term(x, x_t, p, t, level, Counted(valid=counted.valid)) * len(self.process)}
        error = ((x if self.options.predict_xstart else noise) - out[:, : x.shape[1]]).square()
        if weights is not None:
            checks.weight_table(weights, t, len(self.process))
            error = error * weights.to(error)[t].view(-1, 1, 1, 1, 1)
        losses = {"mse": mean_of_frames(error, *counted)}
        if self.options.learn_sigma:
            predicted, v = halves(out, x.shape[1])
            p, _ = self.step_distribution(torch.cat([predicted.detach(), v], dim=1), x_t, level)
            losses["vb"] = bound_term(x, x_t, p, t, level, counted)
            if self.options.rescale_learned_sigmas:
                losses["vb"] = losses["vb"] * (len(self.process) / 1000)
        return {"loss": sum(losses.values(), torch.zeros_like(losses["mse"])), **losses}

    def step_distribution(
        self, out: Tensor, x_t: Tensor, level: Level, *, clip: bool = False
    ) -> tuple[Gaussian, Tensor]:
        """p(x_{t-1} | x_t) and the data predicted, clamped to [-1, 1] or not. out: of the model, C channels or 2C."""
        channels = x_t.shape[1]
        predicted, v = halves(out, channels) if self.options.learn_sigma else (out[:, :channels], None)
        return step_distribution(predicted, v, x_t, level, predict_xstart=self.options.predict_xstart, clip=clip)

    def _prior(self, x: Tensor) -> Tensor:
        """What is left of the data in pure noise, in bits per element: (B,)."""
        last = self.process.level(torch.full((len(x),), len(self.process) - 1, device=x.device), x)
        end = Gaussian(last.alpha * x, 2 * last.sigma.log())
        nothing = torch.zeros_like(last.alpha)
        return mean_of_frames(normal_kl(end, Gaussian(nothing, nothing)), None) / BITS

    def _checked_times(self, x: Tensor, t: Tensor | None, draws: Draws | None, mask: Tensor | None) -> Tensor:
        if mask is not None:
            checks.training_mask(mask, x)
            if self.options.use_kl:
                raise UserError("use_kl: true trains on whole clips: leave frame masks out, or set use_kl: false.")
        if t is None:
            return self.draw_timesteps(checks.drawn(draws, len(x), "t"), x.device)
        checks.whole_times(t, len(x), len(self.process) - 1)
        return t

    def _process(self, steps: int) -> GaussianDiffusion:
        """With `steps` of the steps kept, evenly spaced."""
        checks.steps(steps, len(self.process))
        if steps == len(self.process):
            return self.process
        return self.process.respaced(kept_steps(len(self.process), str(steps)))

    def _guided_channels(self, channels: int) -> int:
        return channels if self.options.cfg_channel is None else self.options.cfg_channel

    def _model_times(self, t: Tensor) -> Tensor:
        return torch.tensor(self.process.timesteps, device=t.device)[t]


def check(options: IDDPMOptions, context: Context) -> None:
    """Refuse options that do not fit each other, or the model. Raises: UserError."""
    if options.learn_sigma:
        checks.variance(context.out_channels, context.latent_channels)
    checks.steps(options.num_sampling_steps or 1, options.diffusion_steps)


def build(options: IDDPMOptions, context: Context) -> IDDPM:
    """The scheduler. Raises: UserError; see `check`."""
    check(options, context)
    return IDDPM(options)
