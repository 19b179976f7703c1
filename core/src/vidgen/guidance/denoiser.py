"""A model with its conditioning bound and guidance applied: what samplers and losses call."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, pi

import torch
from torch import Tensor

from vidgen.errors import UserError
from vidgen.guidance.options import GuidanceOptions

Denoiser = Callable[..., Tensor]
Scale = float | Tensor
EVEN = GuidanceOptions()
ROUNDING = 1e-6  # of times at the ends of an interval


def guide(
    model: Denoiser,
    conditioning: Mapping[str, Tensor],
    null_conditioning: Mapping[str, Tensor] | None,
    scale: float,
    channels: int,
    *,
    options: GuidanceOptions = EVEN,
    times: Sequence[float] | Tensor = (),
    rest: bool = True,
) -> Denoiser:
    """A denoiser f(x, t, x_mask=None, step=0) with the conditioning bound and guidance applied to its first `channels`.

    prediction = null + scale * (conditional - null), both halves in one batch, conditional first, or one after the
    other where `options` say so. Channels beyond
    `channels` (a learned variance) are the conditional ones; not `rest`: they need not be returned. Without null
    conditioning, or at scale 1, the model is called once.

    times: of the steps, (S,) or (S, B), as shares from data (0) to pure noise (1), on the CPU; needed where `options`
    let the scale depend on them. Sources: rescaling arXiv 2305.08891, section 3.4; interval arXiv 2404.07724; growing
    scale CogVideoX (arXiv 2408.06072). Raises: UserError, for a scale that is not finite.
    """
    if not isfinite(scale):
        raise UserError(f"a guidance scale of {scale} is not a number to work with: give a finite one, such as 4 or 7.")
    if not null_conditioning:
        return _conditional(model, conditioning)
    device = next(iter(conditioning.values())).device
    scales = _scales(scale, options, times, device)
    if all(isinstance(one, float) and one == 1.0 for one in scales):
        return _conditional(model, conditioning)
    halves = _in_turn if options.guidance_in_turn else _together
    return _Guided(
        _conditional(model, conditioning),
        halves(model, conditioning, null_conditioning),
        scales,
        options.guidance_rescale,
        channels,
        rest=rest,
    )


class _Guided:
    """conditional: the model with the prompt. halves: predicts with and without it. scales: of each step, or of all of
    them."""

    def __init__(
        self,
        conditional: Denoiser,
        halves: Callable[..., tuple[Tensor, Tensor]],
        scales: Sequence[Scale],
        rescale: float,
        channels: int,
        *,
        rest: bool,
    ) -> None:
        self.conditional, self.halves, self.scales = conditional, halves, scales
        self.rescale, self.channels, self.rest = rescale, channels, rest

    def __call__(self, x: Tensor, t: Tensor, x_mask: Tensor | None = None, step: int = 0) -> Tensor:
        scale = self.scales[step if len(self.scales) > 1 else 0]
        if isinstance(scale, float) and scale == 1.0:
            return self.conditional(x, t, x_mask)
        conditional, null = self.halves(x, t, x_mask)
        if conditional.shape[1] == self.channels:
            return self._guided(conditional, null, scale)
        head = self._guided(conditional[:, : self.channels], null[:, : self.channels], scale)
        return torch.cat([head, conditional[:, self.channels :]], dim=1) if self.rest else head

    def _guided(self, conditional: Tensor, null: Tensor, scale: Scale) -> Tensor:
        out = torch.lerp(null, conditional, scale.to(null.dtype) if isinstance(scale, Tensor) else scale)
        if not self.rescale:
            return out
        wanted, spread = conditional.flatten(1).std(dim=1), out.flatten(1).std(dim=1)
        factor = torch.where(spread > 0, wanted / spread, 1.0)  # a fresh model may predict zeros
        return out * torch.lerp(torch.ones_like(factor), factor, self.rescale).view(-1, *[1] * (out.dim() - 1))


def _together(
    model: Denoiser, conditioning: Mapping[str, Tensor], null_conditioning: Mapping[str, Tensor]
) -> Callable[..., tuple[Tensor, Tensor]]:
    both = {key: torch.cat([value, null_conditioning[key]]) for key, value in conditioning.items()}

    def halves(x: Tensor, t: Tensor, x_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        doubled = None if x_mask is None else torch.cat([x_mask, x_mask])
        conditional, null = model(torch.cat([x, x]), torch.cat([t, t]), **both, **_mask(doubled)).chunk(2)
        return conditional, null

    return halves


def _in_turn(
    model: Denoiser, conditioning: Mapping[str, Tensor], null_conditioning: Mapping[str, Tensor]
) -> Callable[..., tuple[Tensor, Tensor]]:
    def halves(x: Tensor, t: Tensor, x_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        mask = _mask(x_mask)
        return model(x, t, **conditioning, **mask), model(x, t, **null_conditioning, **mask)

    return halves


def _conditional(model: Denoiser, conditioning: Mapping[str, Tensor]) -> Denoiser:
    def conditional(x: Tensor, t: Tensor, x_mask: Tensor | None = None, step: int = 0) -> Tensor:
        return model(x, t, **conditioning, **_mask(x_mask))

    return conditional


def _scales(
    scale: float, options: GuidanceOptions, times: Sequence[float] | Tensor, device: torch.device
) -> list[Scale]:
    """Of each step a number, or (B, 1, 1, 1, 1) where samples differ; one for all where time plays no role."""
    (low, high), power = options.guidance_interval, options.dynamic_guidance
    if power is None and (low, high) == (0, 1):
        return [float(scale)]
    at = torch.as_tensor(times, dtype=torch.float64)
    assert at.numel(), "guidance that depends on time needs the steps' times"
    course = torch.full_like(at, scale)
    if power is not None:
        course = 1 + scale * (1 - torch.cos(pi * (1 - at).clamp(0, 1) ** power)) / 2
    course = torch.where((at >= low - ROUNDING) & (at <= high + ROUNDING), course, 1.0)
    return [_one_for_all(row, device) for row in course.reshape(len(at), -1)]


def _one_for_all(row: Tensor, device: torch.device) -> Scale:
    if bool((row == row[0]).all()):
        return float(row[0])
    return row.float().view(-1, 1, 1, 1, 1).to(device)


def _mask(x_mask: Tensor | None) -> dict[str, Tensor]:
    return {} if x_mask is None else {"x_mask": x_mask}
