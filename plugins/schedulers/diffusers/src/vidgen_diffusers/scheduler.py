"""A class of diffusers as a scheduler of vidgen: its training loss, and the library's loop with given frames in it.

Letters: B samples, C channels, T H W latent frames/rows/columns, S steps, E predictions of the model, S or more.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor
from vidgen.errors import UserError
from vidgen.guidance.denoiser import Denoiser, guide
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_diffusion import checks

from vidgen_diffusers import DiffusersOptions
from vidgen_diffusers.catalogue import draws_noise, maker
from vidgen_diffusers.given import GivenPath
from vidgen_diffusers.levels import Levels
from vidgen_diffusers.library import Library, on_cpu
from vidgen_diffusers.paths import FLOW_OPTIONS
from vidgen_diffusers.tables import TABLE_OPTIONS

PARTICULAR = TABLE_OPTIONS | FLOW_OPTIONS  # options that not all families have
TRIED = 12  # predictions, of any kind that a solver of order 4 has
Progress = Callable[[int, int], None]


class DiffusersScheduler:
    """See `vidgen.interfaces.Scheduler` and the options for every attribute's meaning. family: what is particular about
    the class. stochastic: whether its steps draw noise."""

    def __init__(self, name: str, options: DiffusersOptions) -> None:
        self.name, self.options = name, options
        self.library = Library(name, options.config)
        scheduler = self.library.scheduler
        self.family = maker(name, scheduler)(name, scheduler, options)
        self.stochastic = draws_noise(name, scheduler)
        self.prediction_type = self.family.prediction_type
        self.cfg_scale = options.cfg_scale
        self.num_sampling_steps = options.num_sampling_steps

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
        """Squared error of the prediction at a level of noise per sample, averaged over the frames that are learned.

        x: clean latents (B, C, T, H, W). mask: (B, T) bool, true where a frame is noised and learned; the others reach
        the model clean. noise: of x's shape, used as given. t: (B,) in the model's own units, used as given: whole
        numbers where the class has a table. draws: for t (purpose `timestep`) and noise (`noise`), when not given.
        valid: (B, T, H, W) bool, true where a latent is no padding; only those count.

        Returns `loss` (B,); NaN for a sample without a true frame in its mask. Raises: UserError.
        """
        return self.family.losses(model, x, conditioning, draws=draws, mask=mask, noise=noise, t=t, valid=valid)

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
        """The library's loop, on a scheduler object of its own: scale, predict, step.

        z: standard normal noise (B, C, T, H, W), with given clean frames in their place where mask < 1. mask: (B, T) in
        [0, 1]: 1 generate, 0 keep, between: the model sees the frame clean until the process is down to that share of
        its time, from then on as its own noise would have left it. draws: the noise of stochastic steps (purpose
        `step`), and that of edited frames (`edited`). progress(i, n): called when step i of n is done, which may take
        several predictions.

        Returns clean latents of z's shape and dtype; kept frames come back bit for bit. Raises: UserError.
        """
        steps = self.num_sampling_steps if steps is None else steps
        scheduler, levels = self._begin(steps, z.device)
        denoiser = guide(
            model,
            conditioning,
            null_conditioning,
            self.cfg_scale if guidance is None else guidance,
            z.shape[1],
            options=self.options,
            times=levels.share,
            rest=False,
        )
        if self.stochastic:
            draws = checks.drawn(draws, len(z), f"{self.name}'s steps")
        x = z.to(torch.promote_types(z.dtype, torch.float32))
        given = None if mask is None else GivenPath(mask, x, levels, self.family.target, draws)
        told = scheduler.timesteps.to(device=z.device, dtype=torch.float32)[:, None].expand(-1, len(z)).unbind()
        x = x * self.family.first(scheduler)
        for i in range(len(levels)):
            x = self._step(scheduler, denoiser, x, told[i], i, given=given, draws=draws, dtype=z.dtype)
            for done in _done(i, len(levels), steps):
                if progress is not None:
                    progress(done, steps)
        return (x if given is None else given.frames.finish(x)).to(z.dtype)

    def _step(
        self,
        scheduler: Any,
        denoiser: Denoiser,
        x: Tensor,
        told: Tensor,
        i: int,
        *,
        given: GivenPath | None,
        draws: Draws | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """The state after prediction i."""
        asked = self.family.asked(scheduler.timesteps[i], len(x))
        if given is not None:
            x = given.enter(i, x)
        shown = scheduler.scale_model_input(x, asked) if self.family.scales else x
        if given is not None:
            shown = given.frames.shown(i, shown)
        x_mask = None if given is None else given.frames.active[i]
        output = denoiser(shown.to(dtype), told, x_mask=x_mask, step=i)[:, : x.shape[1]].to(x.dtype)
        if given is not None:
            output = given.predicted(i, output)
        if self.family.sign < 0:
            output = -output
        if not self.stochastic:
            return scheduler.step(output, asked, x, return_dict=False)[0]
        assert draws is not None
        return scheduler.step(output, asked, x, generator=draws.generators("step", step=i), return_dict=False)[0]

    def _begin(self, steps: int, device: torch.device) -> tuple[Any, Levels]:
        """A scheduler with its timesteps set, and its levels. Raises: UserError, where they make no course to data."""
        checks.steps(steps)
        scheduler = self.library.begin(steps + self.family.spare, device)
        levels = self.family.levels(scheduler)
        if not levels.fall:
            raise UserError(
                f"with {steps} sampling steps, {self.name}'s noise does not fall from each to the next: give fewer "
                "num_sampling_steps, or change config."
            )
        return scheduler, levels

    def try_out(self) -> None:
        """Take the first steps on a single latent: the library looks at many of its arguments only then. Raises:
        UserError."""
        with on_cpu(), torch.no_grad():
            draws, x = Draws(0, [(0,)]), torch.zeros(1, 1, 1, 1, 1)
            scheduler, levels = self._begin(self.num_sampling_steps, x.device)
            try:
                for i in range(min(len(levels), TRIED)):
                    x = self._step(scheduler, _nothing, x, x.flatten(), i, given=None, draws=draws, dtype=x.dtype)
            except Exception as error:  # of whatever kind
                raise self.library.refusal("", error) from error
            if not bool(x.isfinite().all()):
                raise UserError(
                    f"the first steps of {self.name} with config: {self.options.config} give no finite numbers: change "
                    "config (epsilon, for one, does not go with zero SNR) or num_sampling_steps."
                )


def _nothing(x: Tensor, t: Tensor, x_mask: Tensor | None = None, step: int = 0) -> Tensor:
    return torch.zeros_like(x)


def _done(i: int, predictions: int, steps: int) -> Iterator[int]:
    """Steps that are done with prediction i, and were not before."""
    yield from range(i * steps // predictions + 1, (i + 1) * steps // predictions + 1)


def build(name: str, options: DiffusersOptions, context: Context) -> DiffusersScheduler:
    """The scheduler behind `diffusers/<name>`. Raises: UserError, for a config that the class does not take, and for
    options that play no role for it."""
    built = DiffusersScheduler(name, options)
    silent = attrs.asdict(DiffusersOptions(), recurse=False)
    for key, value in attrs.asdict(options, recurse=False).items():
        if key in PARTICULAR - built.family.options and value != silent[key]:
            raise UserError(f"{key}: {value} plays no role for {name}: leave it out.")
    built.try_out()
    return built
