"""The process: its training loss and its Euler sampler.

Letters: B samples, C channels, T H W latent frames/rows/columns, S steps. Time t runs from 0 (data) to num_timesteps
(pure noise); the model predicts the velocity x_0 - noise as the first C of its channels, whatever follows is ignored.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from vidgen.errors import UserError
from vidgen.guidance.denoiser import Denoiser, guide
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_diffusion import checks
from vidgen_diffusion.frames import active_frames, mean_of_frames, over_latents
from vidgen_diffusion.padding import noise_for

from vidgen_rflow import RFlowOptions
from vidgen_rflow.path import add_noise, joining_frames, shift_timesteps, step_sizes, time_grid
from vidgen_rflow.sizes import check_grid, checked_sizes, short_clip


class RFlow:
    """Rectified flow; see `vidgen.interfaces.Scheduler` and the options for every attribute's meaning.

    Source: arXiv 2209.03003; logit-normal times: arXiv 2403.03206, section 3.1.
    """

    prediction_type = "velocity"

    def __init__(self, options: RFlowOptions) -> None:
        self.options = options
        self.num_timesteps = options.num_timesteps
        self.cfg_scale = options.cfg_scale
        self.num_sampling_steps = options.num_sampling_steps

    def add_noise(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x, noise: (B, C, T, H, W); t: (B,) in [0, num_timesteps]. Returns the point of the path at t."""
        return add_noise(x, noise, t, self.num_timesteps)

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
        """Squared error of the predicted velocity at a time per sample, averaged over the frames that are learned.

        x: clean latents (B, C, T, H, W). conditioning: what the model takes, and nothing else. mask: (B, T) bool, true
        where a frame is noised and learned; the others reach the model clean. noise: of x's shape. t: (B,) in [0,
        num_timesteps], used as given. draws: for t (purpose `timestep`) and noise (`noise`) when they are not given.
        valid: (B, T, H, W) bool, true where a latent is no padding; only those count. sizes: `height`, `width`,
        `num_frames`, each (B,), for the timestep transform of a model that does not take them. weights:
        (num_timesteps,), a factor on the error for each whole t.

        Returns `loss` (B,); NaN for a sample without a true frame in its mask. Raises: UserError.
        """
        if mask is not None:
            checks.training_mask(mask, x)
        if valid is not None:
            checks.padding(valid, x)
        if t is None:
            height_width_frames = self._clip_sizes(conditioning, sizes, x, x.device)
            t = self.draw_timesteps(checks.drawn(draws, len(x), "t"), height_width_frames, device=x.device)
        else:
            checks.times(t, len(x), self.num_timesteps)
        if noise is None:
            noise = noise_for(checks.drawn(draws, len(x), "noise"), x, valid)
        checks.same_shape("noise", noise, x)
        error = self._squared_error(model, x, conditioning, noise=noise, t=t, mask=mask)
        if weights is not None:
            checks.weight_table(weights, t, self.num_timesteps)
            error = error * weights.to(error)[t].view(-1, 1, 1, 1, 1)
        return {"loss": mean_of_frames(error, mask, None if valid is None else valid.to(x.device))}

    def draw_timesteps(
        self,
        draws: Draws,
        sizes: tuple[Tensor, Tensor, Tensor] | None = None,
        *,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Times for training: (B,) in [0, num_timesteps], float32, or int64 when discrete and not shifted.

        sizes: height, width and video frames of the clips, each (B,); given, the times are shifted by them.
        """
        options = self.options
        if options.use_discrete_timesteps:
            t = draws.integers("timestep", self.num_timesteps, device=device)
        elif options.sample_method == "logit-normal":
            normal = draws.normal("timestep", (), device=device)
            t = torch.sigmoid(options.loc + options.scale * normal) * self.num_timesteps
        else:
            t = draws.uniform("timestep", device=device) * self.num_timesteps
        if sizes is None:
            return t
        return shift_timesteps(t, *sizes, num_timesteps=self.num_timesteps, scale=options.transform_scale)

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
        """Follow the velocity from noise to data in Euler steps; the whole clock is set before the first one.

        z: standard normal noise (B, C, T, H, W), with given clean frames in their place where mask < 1. conditioning:
        what the model takes, and nothing else. mask: (B, T) in [0, 1]: 1 generate, 0 keep, between: the frame stays as
        it is until t is down to that share of the whole, is noised to there and joins. draws: the noise of joining
        frames (purpose `step`). sizes: as in `training_losses`. progress(i, n): called after step i of n.

        Returns clean latents of z's shape and dtype; kept frames come back bit for bit. Raises: UserError.
        """
        steps = self.num_sampling_steps if steps is None else steps
        checks.steps(steps)
        grid = self._grid(steps, z, self._clip_sizes(conditioning, sizes, z, "cpu"))
        denoiser = guide(
            model,
            conditioning,
            null_conditioning,
            self.cfg_scale if guidance is None else guidance,
            z.shape[1],
            options=self.options,
            times=grid / self.num_timesteps,
            rest=False,
        )
        frames = None if mask is None else _Frames(mask, z, grid.to(z.device), self.num_timesteps, draws)
        return self._euler(denoiser, z, grid, frames, progress)

    def _euler(
        self,
        denoiser: Denoiser,
        z: Tensor,
        grid: Tensor,
        frames: "_Frames | None",
        progress: Callable[[int, int], None] | None,
    ) -> Tensor:
        dtype, channels, steps = z.dtype, z.shape[1], len(grid)
        lengths = step_sizes(grid, self.num_timesteps).to(z.device).view(steps, -1, 1, 1, 1, 1).unbind()
        z = z.to(torch.promote_types(dtype, torch.float32))  # small steps would be lost in half precision
        for i, t in enumerate(grid.to(z.device).unbind()):
            x_mask = None
            if frames is not None:
                z = frames.join(i, z, t)
                x_mask = frames.active[i]
            velocity = denoiser(z.to(dtype), t, x_mask=x_mask, step=i)[:, :channels]
            moved = torch.addcmul(z, velocity.to(z.dtype), lengths[i])
            z = moved if x_mask is None else torch.where(over_latents(x_mask), moved, z)
            if progress is not None:
                progress(i + 1, steps)
        return z.to(dtype)

    def _grid(self, steps: int, z: Tensor, sizes: tuple[Tensor, Tensor, Tensor] | None) -> Tensor:
        discrete = self.options.use_discrete_timesteps
        grid = time_grid(steps, len(z), self.num_timesteps, discrete=discrete)
        if sizes is None:
            return grid
        # Not transform_scale: that is a choice of training, which the published sampler leaves out.
        grid = shift_timesteps(grid, *sizes, num_timesteps=self.num_timesteps)
        check_grid(grid, sizes[2])
        return grid

    def _clip_sizes(
        self,
        conditioning: Mapping[str, Tensor],
        sizes: Mapping[str, Tensor] | None,
        x: Tensor,
        device: torch.device | str,
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        if not self.options.use_timestep_transform:
            return None
        return checked_sizes(conditioning, sizes, len(x), device)

    def _squared_error(
        self,
        model: Denoiser,
        x: Tensor,
        conditioning: Mapping[str, Tensor],
        *,
        noise: Tensor,
        t: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        clean = x.to(torch.promote_types(x.dtype, torch.float32))
        x_t = self.add_noise(clean, noise, t)
        if mask is not None:
            x_t = torch.where(over_latents(mask), x_t, clean)
        denoiser = guide(model, conditioning, None, 1.0, x.shape[1])
        velocity = denoiser(x_t.to(x.dtype), t, x_mask=mask)[:, : x.shape[1]]
        return (velocity.to(clean.dtype) - (clean - noise)).square()


class _Frames:
    """Which frames take part in which step; known before the first, so that the loop never waits for the device."""

    def __init__(self, mask: Tensor, z: Tensor, grid: Tensor, num_timesteps: int, draws: Draws | None) -> None:
        mask = mask.to(z.device)
        checks.sampling_mask(mask, z)
        self.active = active_frames(grid, mask, num_timesteps)
        self.joining = joining_frames(self.active, mask)
        self.join_steps = self.joining.any(dim=2).any(dim=1).tolist()
        self.num_timesteps = num_timesteps
        self.draws = (
            checks.drawn(draws, len(z), "edited frames (mask between 0 and 1)") if any(self.join_steps) else None
        )

    def join(self, i: int, z: Tensor, t: Tensor) -> Tensor:
        """z with the frames that join in step i noised to time t."""
        if not self.join_steps[i]:
            return z
        assert self.draws is not None
        noise = self.draws.normal("step", z.shape[1:], device=z.device, step=i).to(z.dtype)
        return torch.where(over_latents(self.joining[i]), add_noise(z, noise, t, self.num_timesteps), z)


def build(options: RFlowOptions, context: Context) -> RFlow:
    """The scheduler. Raises: UserError, when options contradict each other or the run's number of frames."""
    if options.sample_method == "logit-normal" and options.use_discrete_timesteps:
        raise UserError(
            "use_discrete_timesteps: true draws whole numbers of t evenly, which sample_method: logit-normal does not: "
            "set sample_method: uniform or use_discrete_timesteps: false."
        )
    if options.use_timestep_transform and context.num_frames is not None and 1 < context.num_frames < 17:
        raise UserError(short_clip(context.num_frames))
    return RFlow(options)
