"""Classifier-free guidance, in one place for all schedulers (arXiv 2207.12598)."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Denoiser = Callable[..., Tensor]


def guide(
    model: Denoiser,
    conditioning: Mapping[str, Tensor],
    null_conditioning: Mapping[str, Tensor] | None,
    scale: float,
    channels: int,
) -> Denoiser:
    """A denoiser f(x, t, x_mask=None) with the conditioning bound and guidance applied to its first `channels`.

    prediction = null + scale * (conditional - null), both halves in one batch, conditional first. Channels beyond
    `channels` (a learned variance) are the conditional ones. Without null conditioning, or at scale 1, the model is
    called once.
    """
    if not null_conditioning or scale == 1.0:

        def conditional(x: Tensor, t: Tensor, x_mask: Tensor | None = None) -> Tensor:
            return model(x, t, **conditioning, **_mask(x_mask))

        return conditional

    both = {key: torch.cat([value, null_conditioning[key]]) for key, value in conditioning.items()}

    def guided(x: Tensor, t: Tensor, x_mask: Tensor | None = None) -> Tensor:
        doubled_mask = None if x_mask is None else torch.cat([x_mask, x_mask])
        out = model(torch.cat([x, x]), torch.cat([t, t]), **both, **_mask(doubled_mask))
        conditional, null = out.chunk(2)
        head = null[:, :channels] + scale * (conditional[:, :channels] - null[:, :channels])
        return torch.cat([head, conditional[:, channels:]], dim=1)

    return guided


def _mask(x_mask: Tensor | None) -> dict[str, Tensor]:
    return {} if x_mask is None else {"x_mask": x_mask}
