"""What reconstructions cost: absolute error, perceptual distance, divergence of the posterior.

Source: arXiv 2112.10752, appendix G, with the scaling of Open-Sora 1.2's VAELoss.
"""

import math
from typing import NamedTuple, Protocol

from torch import Tensor, nn


class Posterior(Protocol):
    """The Gaussian that an encoder gives."""

    def kl(self) -> Tensor:
        """Divergence to the standard normal in nats, (B,), summed over all latents of a sample."""
        ...


class Terms(NamedTuple):
    """Scalars: the error per frame, the same weighted, and the weighted divergence per sample."""

    nll_loss: Tensor
    weighted_nll_loss: Tensor
    weighted_kl_loss: Tensor


class VAELoss(nn.Module):
    """Errors are summed over the channels and pixels of a frame and averaged over frames.

    logvar_init: log of the scale of the error, constant. perceptual_loss_weight: of the distance of a frame, which is
    added to each of its values. kl_loss_weight: null or 0 leaves the divergence out. perceptual: the distance of two
    pictures, (N, 3, H, W) each to (N, 1, 1, 1); needed where it counts.
    """

    def __init__(
        self,
        logvar_init: float = 0.0,
        perceptual_loss_weight: float | None = 0.1,
        kl_loss_weight: float | None = 1e-6,
        perceptual: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.logvar = logvar_init
        self.perceptual_loss_weight, self.kl_loss_weight = perceptual_loss_weight, kl_loss_weight
        self.perceptual_loss_fn = perceptual

    def forward(
        self,
        video: Tensor,
        recon_video: Tensor,
        posterior: Posterior,
        nll_weights: Tensor | None = None,
        no_perceptual: bool = False,
    ) -> Terms:
        """video, recon_video: (B, C, T, H, W), pixels in [-1, 1] or latents. nll_weights: broadcast against
        (B*T, C, H, W). no_perceptual: leave the distance out, as latents need."""
        real, made = frames_of(video), frames_of(recon_video)
        error = (real - made).abs()
        if self.perceptual_loss_weight and self.perceptual_loss_weight > 0 and not no_perceptual:
            error = error + self.perceptual_loss_weight * self._distance(real, made)
        nll = error / math.exp(self.logvar) + self.logvar
        weighted = nll if nll_weights is None else nll_weights * nll
        return Terms(nll.sum() / len(nll), weighted.sum() / len(nll), self._divergence(posterior, len(video)))

    def _distance(self, real: Tensor, made: Tensor) -> Tensor:
        assert self.perceptual_loss_fn is not None, "perceptual_loss_weight needs the distance"
        if real.shape[1] == 1:
            real, made = real.expand(-1, 3, -1, -1), made.expand(-1, 3, -1, -1)
        return self.perceptual_loss_fn(real, made)

    def _divergence(self, posterior: Posterior, count: int) -> Tensor:
        kl = posterior.kl()
        if self.kl_loss_weight is None or self.kl_loss_weight <= 0:
            return kl.new_zeros(())
        return self.kl_loss_weight * kl.sum() / count


def frames_of(video: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B*T, C, H, W)."""
    return video.transpose(1, 2).flatten(0, 1)
