"""Schedulers: losses and samples of each sample by itself, determined by the draws; masks, steps, progress."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from vidgen.errors import UserError
from vidgen.interfaces import Size3
from vidgen.testing.declared import declares
from vidgen.testing.subject import ROWS, Subject, alike, refused, steady
from vidgen.testing.tiny import boxes, draws_of, tiny_clips, tiny_sizes

STEPS = 3


class Denoiser(nn.Module):
    """A stand-in for a model, with one weight; notes what it is asked. variance: return twice the channels."""

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


class Trial:
    """A scheduler with a model it takes: one that returns a variance, unless that is refused."""

    def __init__(self, subject: Subject) -> None:
        self.scheduler, self.context = subject.one, subject.context
        assert self.context.latent_channels and self.context.latent_size
        self.shape = (self.context.latent_channels, *self.context.latent_size)
        self.model = Denoiser(variance=True)
        if refused(lambda: self.losses()) or refused(lambda: self.sample()):
            self.model = Denoiser(variance=False)

    def x(self, rows: Sequence[int] = ROWS) -> Tensor:
        """Latents or noise."""
        return draws_of(rows).normal("x", self.shape)

    def losses(self, rows: Sequence[int] = ROWS, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Training losses of rows."""
        y, sizes = draws_of(rows).normal("y", (5, 7)), tiny_sizes(self.context, len(rows))
        known = {"draws": draws_of(rows), "mask": mask, "sizes": sizes}
        return self.scheduler.training_losses(self.model, self.x(rows), {"y": y}, **known)

    def padded(self, rows: Sequence[int], clips: Sequence[Size3], whole: Size3, behind: float) -> Tensor:
        """`loss` of rows, cut to clips and padded to `whole` with the number `behind`, in latents and noise alike."""
        y, sizes, valid = draws_of(rows).normal("y", (5, 7)), tiny_sizes(self.context, len(rows)), boxes(clips, whole)
        x, noise = (
            torch.where(valid[:, None], draws_of(rows).normal(name, self.shape)[:, :, *map(slice, whole)], behind)
            for name in ("x", "noise")
        )
        known = {"draws": draws_of(rows), "noise": noise, "valid": valid, "sizes": sizes}
        return self.scheduler.training_losses(self.model, x, {"y": y}, **known)["loss"].detach()

    def sample(self, rows: Sequence[int] = ROWS, guidance: float | None = None, **changes: Any) -> Tensor:
        """Samples of rows. changes: of steps, mask, progress."""
        y, sizes = draws_of(rows).normal("y", (5, 7)), tiny_sizes(self.context, len(rows))
        known = {"draws": draws_of(rows), "sizes": sizes, "steps": STEPS, **changes}
        return self.scheduler.sample(self.model, self.x(rows), {"y": y}, {"y": 0 * y}, guidance, **known)


def _gives_losses(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    losses = trial.losses()
    wrong = [f"{name} {tuple(loss.shape)}" for name, loss in losses.items() if loss.shape != (len(ROWS),)]
    if wrong or "loss" not in losses:
        yield f"training_losses must give `loss`, and all of it one number per sample, ({len(ROWS)},), not {wrong}"
        return
    losses["loss"].mean().backward()
    if trial.model.gain.grad is None or not trial.model.gain.grad.any():
        yield "no gradient reaches the model from `loss`"
    yield from steady("`loss`", lambda rows: trial.losses(rows)["loss"].detach())


def _leaves_padding_out(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    sizes = tiny_clips(subject.context)
    alone = torch.cat([trial.padded([row], [size], size, 0.0) for row, size in enumerate(sizes)])
    padded, otherwise = (trial.padded(ROWS, sizes, sizes[0], behind) for behind in (0.5, -3.0))
    if not alike(padded, otherwise):
        yield "`loss` depends on what lies where `valid` is false: leave that out of the mean"
    latents = torch.tensor([prod(size) for size in sizes])
    if not alike(padded, alone) and not alike(padded, alone * latents / latents.float().mean()):
        yield (
            "with `valid`, `loss` must be that of each clip without its padding, or have as its mean the one over all "
            "that is valid in the batch"
        )


def _samples(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    out, z = trial.sample(), trial.x()
    if out.shape != z.shape or out.dtype != z.dtype or out.requires_grad:
        yield f"sample must return latents like z, {tuple(z.shape)} in {z.dtype}, without a gradient"
        return
    if torch.equal(trial.sample(guidance=1.5), trial.sample(guidance=7.5)):
        yield "`guidance` changes nothing: see vidgen.guidance.denoiser.guide"
    yield from steady("samples", trial.sample)


def _counts_steps(subject: Subject) -> Iterator[str]:
    trial, calls = Trial(subject), list[tuple[int, int]]()
    trial.sample(progress=lambda done, total: calls.append((done, total)))
    if calls != [(i + 1, STEPS) for i in range(STEPS)]:
        yield f"with steps={STEPS}, progress must be called with (1, {STEPS}) to ({STEPS}, {STEPS}), not {calls}"
    if not refused(lambda: trial.sample(steps=0)):
        yield "steps=0 must raise UserError"


def _keeps_masked_frames(subject: Subject) -> Iterator[str]:
    trial = Trial(subject)
    mask = (torch.arange(trial.shape[1]) > 0).repeat(len(ROWS), 1)
    try:
        trial.losses(mask=mask)
        seen, x_mask = trial.model.seen[-1]
        out = trial.sample(mask=mask.float())
    except UserError:
        return  # a scheduler may refuse masks, in words
    if x_mask is None or not _nearly(seen[:, :, 0], trial.x()[:, :, 0]):
        yield "training_losses must pass the mask on as `x_mask`, with the frames outside of it clean"
    if not _nearly(out[:, :, 0], trial.x()[:, :, 0]):
        yield "sample must return frames with mask 0 as they are in z"


def _nearly(a: Tensor, b: Tensor) -> bool:
    """But for the lowest level of noise, at which some processes leave their given frames."""
    return a.shape == b.shape and bool((a - b).abs().max() <= 0.1)


SCHEDULER = (declares, _gives_losses, _leaves_padding_out, _samples, _counts_steps, _keeps_masked_frames)
