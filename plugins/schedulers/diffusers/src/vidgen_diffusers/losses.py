"""The squared error of a prediction at a level of noise out of a continuum.

Letters: B samples, C channels, T H W latent frames/rows/columns.
"""

from collections.abc import Callable, Mapping

import torch
from attrs import frozen
from torch import Tensor
from vidgen.guidance.denoiser import Denoiser, guide
from vidgen.rng import Draws
from vidgen_diffusion import checks
from vidgen_diffusion.frames import mean_of_frames, over_latents
from vidgen_diffusion.padding import noise_for

from vidgen_diffusers.families import Target


@frozen(kw_only=True)
class PathLoss:
    """As `vidgen_diffusion.loss.DenoisingLoss`, where no table says how much noise there is.

    draw: times for training, (B,), as the model is told them. check: refuses times that there are not, for a batch of
    so many. level: alpha and sigma of what the model is shown at times, (B,) each. weight: factor on errors at times,
    (B,). target: see `vidgen_diffusers.families.Family`.
    """

    draw: Callable[[Draws, torch.device], Tensor]
    check: Callable[[Tensor, int], None]
    level: Callable[[Tensor], tuple[Tensor, Tensor]]
    target: Target
    weight: Callable[[Tensor], Tensor] = torch.ones_like

    def __call__(
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
    ) -> dict[str, Tensor]:
        """See `vidgen.interfaces.Scheduler.training_losses`. Raises: UserError."""
        if mask is not None:
            checks.training_mask(mask, x)
        if valid is not None:
            checks.padding(valid, x)
            valid = valid.to(x.device)
        if t is None:
            t = self.draw(checks.drawn(draws, len(x), "t"), x.device)
        else:
            self.check(t, len(x))
        if noise is None:
            noise = noise_for(checks.drawn(draws, len(x), "noise"), x, valid)
        checks.same_shape("noise", noise, x)
        error = self._squared_error(model, x, conditioning, noise=noise, t=t, mask=mask)
        return {"loss": mean_of_frames(error, mask, valid) * self.weight(t)}

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
        alpha, sigma = (level.to(clean.dtype).view(-1, 1, 1, 1, 1) for level in self.level(t))
        shown = alpha * clean + sigma * noise
        if mask is not None:
            shown = torch.where(over_latents(mask), shown, clean)
        predicted = guide(model, conditioning, None, 1.0, x.shape[1])(shown.to(x.dtype), t, x_mask=mask)
        wanted = self.target(clean, noise, alpha, sigma)
        return (predicted[:, : x.shape[1]].to(clean.dtype) - wanted).square()
