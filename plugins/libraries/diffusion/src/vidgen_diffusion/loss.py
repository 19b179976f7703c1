"""The squared error of a prediction at a random level of noise: how epsilon, v and data predictors are trained.

Letters: B samples, C channels, T H W latent frames/rows/columns, N levels of noise.
"""

from collections.abc import Mapping

import torch
from attrs import field, frozen
from torch import Tensor
from vidgen.guidance.denoiser import Denoiser, guide
from vidgen.rng import Draws

from vidgen_diffusion import checks
from vidgen_diffusion.frames import mean_of_frames, over_latents
from vidgen_diffusion.padding import noise_for
from vidgen_diffusion.prediction import Prediction, target


@frozen(kw_only=True)
class DenoisingLoss:
    """alphas_cumprod: (N,), the share of data in x_t squared, by t. kind: what the model predicts.

    snr_gamma: weights errors by min(SNR, gamma) / SNR, for v by min(SNR, gamma) / (SNR + 1) (arXiv 2303.09556); None:
        evenly. noise_offset: how much of one more number per sample and channel, the same in all frames and pixels, is
        added to the noise. bounds: first and last t that are drawn. of_batch: average over what is no padding in the
        whole batch, as Open-Sora-Plan does, so that larger clips count for more; false: in each sample by itself.
    """

    alphas_cumprod: Tensor
    kind: Prediction
    bounds: tuple[int, int]
    snr_gamma: float | None = None
    noise_offset: float = 0.0
    of_batch: bool = False
    _tables: dict[torch.device, tuple[Tensor, Tensor]] = field(factory=dict, init=False, eq=False, repr=False)

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
        """See `vidgen.interfaces.Scheduler.training_losses`. Frames outside of `mask` reach the model clean.

        t: (B,) int64 in 0..N-1. valid: (B, T, H, W), 1 where latents are no padding, else 0. Returns `loss` (B,).
        Raises: UserError.
        """
        if mask is not None:
            checks.training_mask(mask, x)
        if valid is not None:
            checks.padding(valid, x)
        if t is None:
            t = self.draw_timesteps(checks.drawn(draws, len(x), "t"), device=x.device)
        else:
            checks.whole_times(t, len(x), len(self.alphas_cumprod) - 1)
        if noise is None:
            noise = self.draw_noise(checks.drawn(draws, len(x), "noise"), x, valid)
        checks.same_shape("noise", noise, x)
        error = self._squared_error(model, x, conditioning, noise=noise, t=t, mask=mask)
        if self.snr_gamma is not None:
            error = error * self.weights(t).view(-1, 1, 1, 1, 1)
        return {"loss": self._mean(error, mask, None if valid is None else valid.to(x.device))}

    def draw_timesteps(self, draws: Draws, *, device: torch.device | str = "cpu") -> Tensor:
        """Within the bounds: (B,) int64."""
        low, high = self.bounds
        return draws.integers("timestep", high - low + 1, device=device) + low

    def draw_noise(self, draws: Draws, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Of x's shape, with the offset added; each clip's as if it were alone, unless the loss is of the batch."""
        noise = noise_for(draws, x, None if self.of_batch else valid)
        if self.noise_offset:
            noise = noise + self.noise_offset * draws.normal("noise offset", (x.shape[1], 1, 1, 1), device=x.device)
        return noise

    def snr(self, t: Tensor) -> Tensor:
        """Signal to noise at t: (B,)."""
        alpha, sigma = self._levels(t)
        return (alpha / sigma).square()

    def weights(self, t: Tensor) -> Tensor:
        """Factor on the error at t: (B,). Raises: AssertionError, without snr_gamma or for data predictors."""
        assert self.snr_gamma is not None and self.kind != "sample"
        snr = self.snr(t)
        return snr.clamp(max=self.snr_gamma) / (snr if self.kind == "epsilon" else snr + 1)

    def add_noise(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t of t (B,)."""
        alpha, sigma = (level.view(-1, 1, 1, 1, 1) for level in self._levels(t))
        return alpha * x + sigma * noise

    def target(self, x: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the model should predict at t (B,)."""
        alpha, sigma = (level.view(-1, 1, 1, 1, 1) for level in self._levels(t))
        return target(self.kind, x, noise, alpha, sigma)

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
        predicted = guide(model, conditioning, None, 1.0, x.shape[1])(x_t.to(x.dtype), t, x_mask=mask)
        return (predicted[:, : x.shape[1]].to(clean.dtype) - self.target(clean, noise, t)).square()

    def _mean(self, error: Tensor, mask: Tensor | None, valid: Tensor | None) -> Tensor:
        if valid is None or not self.of_batch:
            return mean_of_frames(error, mask, valid)
        share = valid[:, None].to(error)
        return mean_of_frames(error * share / share.mean(), mask)

    def _levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        if t.device not in self._tables:
            alphas = self.alphas_cumprod.to(t.device)
            self._tables[t.device] = (alphas.sqrt().float(), (1 - alphas).sqrt().float())
        alpha, sigma = self._tables[t.device]
        return alpha[t], sigma[t]
