"""Schedulers: losses and samples of each sample by itself, determined by the draws; masks, steps, progress."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vidgen.errors import UserError
from vidgen.rng import Draws
from vidgen.testing.subject import Subject, alike, count, declared, refused
from vidgen.testing.tiny import tiny_sizes

STEPS = 3


class Denoiser(nn.Module):
    """A stand-in for a model with one weight; notes what it is asked. variance: return twice the channels."""

    def __init__(self, variance: bool) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.3))
        self.variance = variance
        self.seen: list[tuple[Tensor, Tensor | None]] = []

    def forward(self, x: Tensor, t: Tensor, *, y: Tensor, x_mask: Tensor | None = None) -> Tensor:
        """x: (B, C, T, H, W). Returns the same, or with 2 C."""
        if t.shape != (len(x),):
            raise AssertionError(f"the model must get one timestep per sample, ({len(x)},), not {tuple(t.shape)}")
        self.seen.append((x.detach(), x_mask))
        shift = y.mean(dim=(1, 2)) + torch.sin(t.float())
        out = torch.tanh(self.gain * x + shift[:, None, None, None, None])
        return torch.cat([out, out], dim=1) if self.variance else out


def declares(subject: Subject) -> Iterator[str]:
    """What jobs and checkpoints read off it."""
    scheduler = subject.one
    yield from declared(scheduler, "prediction_type", lambda text: isinstance(text, str) and bool(text), "a word")
    yield from declared(scheduler, "cfg_scale", lambda scale: isinstance(scale, int | float), "a number")
    yield from declared(scheduler, "num_sampling_steps", count, "a number of steps")
    subject.build(dry=True)


def gives_losses(subject: Subject) -> Iterator[str]:
    """(B,) each, from the draws alone, each sample by itself, with a gradient."""
    model = _denoiser(subject)
    losses = _losses(subject, model, (0, 1, 2))
    for name, loss in {"loss": losses.get("loss", torch.zeros(())), **losses}.items():
        if loss.shape != (3,) or not loss.isfinite().all():
            yield f"training_losses[{name!r}] must be finite, one number per sample, (3,); it is {loss}"
            return
    losses["loss"].mean().backward()
    if model.gain.grad is None or not model.gain.grad.any():
        yield "no gradient reaches the model from `loss`"
    if not torch.equal(losses["loss"], _losses(subject, model, (0, 1, 2))["loss"]):
        yield "the same draws give another loss: take time and noise from `draws` alone"
    if not alike(_losses(subject, model, (1,))["loss"], losses["loss"][1:2]):
        yield "a sample's loss is another one alone than in a batch: average over each sample by itself"


def samples(subject: Subject) -> Iterator[str]:
    """z's shape, from z and the draws alone, each sample by itself."""
    model = _denoiser(subject)
    out, z = _sample(subject, model, (0, 1)), _normal((0, 1), _shape(subject))
    if out.shape != z.shape or out.dtype != z.dtype or not out.isfinite().all() or out.requires_grad:
        yield f"sample must return finite latents like z, {tuple(z.shape)}, without a gradient; got {tuple(out.shape)}"
        return
    if not torch.equal(out, _sample(subject, model, (0, 1))):
        yield "the same z and draws give another sample: take noise from draws.normal('step', ..., step=i) alone"
    if not alike(_sample(subject, model, (1,)), out[1:2]):
        yield "a sample is another one alone than in a batch"
    if torch.equal(out, _sample(subject, model, (0, 1), guidance=7.5)):
        yield "`guidance` changes nothing: see vidgen.guidance.guide"


def counts_steps(subject: Subject) -> Iterator[str]:
    """Progress after every step; no steps are no request."""
    model, calls = _denoiser(subject), list[tuple[int, int]]()
    _sample(subject, model, (0,), progress=lambda done, total: calls.append((done, total)))
    if calls != [(i + 1, STEPS) for i in range(STEPS)]:
        yield f"with steps={STEPS}, progress must be called with (1, {STEPS}) to ({STEPS}, {STEPS}), not {calls}"
    if not refused(lambda: _sample(subject, model, (0,), steps=0)):
        yield "steps=0 must raise UserError"


def keeps_masked_frames(subject: Subject) -> Iterator[str]:
    """Given frames reach the model clean and come back bit for bit. Masks may be refused, with a UserError."""
    model, shape = _denoiser(subject), _shape(subject)
    mask = torch.ones(2, shape[1], dtype=torch.bool)
    mask[:, 0] = False
    try:
        _losses(subject, model, (0, 1), mask=mask)
        seen, x_mask = model.seen[-1]
        if x_mask is None or not torch.equal(seen[:, :, 0], _normal((0, 1), shape)[:, :, 0]):
            yield "training_losses must pass the mask on as `x_mask`, with frames outside of it clean"
        out = _sample(subject, model, (0, 1), mask=mask.float())
    except UserError:
        return
    if not torch.equal(out[:, :, 0], _normal((0, 1), shape)[:, :, 0]):
        yield "sample must return frames with mask 0 as they are in z"


def _denoiser(subject: Subject) -> Denoiser:
    """One that the scheduler takes: with a variance, unless that is refused."""
    model = Denoiser(variance=True)
    fits = not refused(lambda: _losses(subject, model, (0,))) and not refused(lambda: _sample(subject, model, (0,)))
    return Denoiser(variance=fits)


def _losses(subject: Subject, model: Denoiser, rows: Sequence[int], mask: Tensor | None = None) -> dict[str, Tensor]:
    x, y, draws = _normal(rows, _shape(subject)), _normal(rows, (5, 7)), Draws(1, [(row,) for row in rows])
    sizes = tiny_sizes(subject.context, len(rows))
    return subject.one.training_losses(model, x, {"y": y}, draws=draws, mask=mask, sizes=sizes)


def _sample(
    subject: Subject,
    model: Denoiser,
    rows: Sequence[int],
    *,
    guidance: float | None = None,
    mask: Tensor | None = None,
    steps: int = STEPS,
    progress: Any = None,
) -> Tensor:
    z, y = _normal(rows, _shape(subject)), _normal(rows, (5, 7))
    draws, sizes = Draws(1, [(row,) for row in rows]), tiny_sizes(subject.context, len(rows))
    return subject.one.sample(
        model,
        z,
        {"y": y},
        {"y": torch.zeros_like(y)},
        guidance,
        draws=draws,
        mask=mask,
        steps=steps,
        progress=progress,
        sizes=sizes,
    )


def _normal(rows: Sequence[int], shape: Sequence[int]) -> Tensor:
    return Draws(1, [(row,) for row in rows]).normal("input", shape)


def _shape(subject: Subject) -> tuple[int, ...]:
    assert subject.context.latent_channels and subject.context.latent_size
    return (subject.context.latent_channels, *subject.context.latent_size)


CHECKS = (declares, gives_losses, samples, counts_steps, keeps_masked_frames)
