"""One batch of clips: noise, the frames that are given, denoising, decoding; loop after loop for long ones."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from vidgen.conditioning import conditioning_for, null_conditioning_for, without_padding
from vidgen.conditioning.long_video import carried, dropped_frames, total_frames
from vidgen.conditioning.strategy import Given
from vidgen.engine.batch import size_numbers
from vidgen.engine.given import Giving
from vidgen.engine.parts import Parts
from vidgen.engine.references import AT_ONCE
from vidgen.engine.tasks import Task
from vidgen.engine.texts import EncodedTexts
from vidgen.interfaces import Size3, StepCache
from vidgen.rng import Draws


@frozen(kw_only=True)
class LongVideo:
    """How the clips of a long video hang together: each but the first begins with the last `length` frames of the one
    before, as `Giving` counts them, edited with ratio `edit`."""

    length: int
    edit: float


@frozen(kw_only=True)
class Generation:
    """progress(name, done, total): called after every denoising step. step_cache: None: every step is worked out."""

    parts: Parts
    texts: EncodedTexts
    giving: Giving
    long: LongVideo
    progress: Callable[[str, int, int], None]
    step_cache: StepCache | None = None

    def clips(self, tasks: Sequence[Task]) -> Iterator[Tensor]:
        """Decoded video of tasks that are alike, (B, 3, t, H, W) float32 in about [-1, 1], some frames at a time. Of
        the loops after the first, without the frames that repeat the one before."""
        size = tasks[0].size
        references = [[self.giving.open(name, size) for name in task.references] for task in tasks]
        given = [list(task.given) for task in tasks]
        loops = len(tasks[0].texts)
        for loop in range(loops):
            latents = self._denoised(tasks, loop, references, given)
            left_out = 0 if loop == 0 else self._repeated(size)
            end: list[Tensor] = []
            for first, piece in self._decoded(latents, size):
                end = self._end([*end, piece], size) if loop + 1 < loops else []
                if first + piece.shape[2] > left_out:
                    yield piece[:, :, max(0, left_out - first) :]
            if loop + 1 < loops:
                self._carry_on(end, size, references, given, loop + 1)
                for held, told, task in zip(references, given, tasks, strict=True):
                    _forget(held, told, loop + 1, len(task.references), self.giving.emptied)

    def total_frames(self, size: Size3, loops: int) -> int:
        """Video frames of a sample of `loops` clips."""
        return size[0] if loops == 1 else total_frames(size[0], loops, self._repeated(size))

    def _repeated(self, size: Size3) -> int:
        """Video frames that clips of a long video share."""
        return dropped_frames(self.long.length, self.giving.time(size))

    def _end(self, pieces: list[Tensor], size: Size3) -> list[Tensor]:
        """Of the pieces of a clip, in order, the last ones with the frames that the next clip begins with."""
        repeated = self._repeated(size)
        while sum(piece.shape[2] for piece in pieces[1:]) >= repeated:
            pieces = pieces[1:]
        return pieces

    def _carry_on(
        self, end: Sequence[Tensor], size: Size3, references: list[list[Any]], given: list[list[Given]], loop: int
    ) -> None:
        """Give the end of a clip to the next one: the frames that both will show, for themselves."""
        ends = self.giving.carry(torch.cat(list(end), dim=2)[:, :, -self._repeated(size) :])
        for of_sample, last, told in zip(references, ends, given, strict=True):
            of_sample.append(last)
            told.append(carried(loop, len(of_sample), self.long.length, self.long.edit))

    @torch.inference_mode()
    def _denoised(
        self, tasks: Sequence[Task], loop: int, references: list[list[Any]], given: list[list[Given]]
    ) -> Tensor:
        parts, size = self.parts, tasks[0].size
        address = [task.address if loop == 0 else (*task.address, loop) for task in tasks]
        draws = Draws([task.seed for task in tasks], address)
        shape = (parts.model.latent_channels, *parts.vae.latent_size(size))
        z = draws.normal("noise", shape)
        entered = self.giving.enter(z, references, given, loop, size)
        sizes = size_numbers([task.size for task in tasks], torch.tensor([task.fps for task in tasks]))
        with parts.parallel.autocast():
            text = self.texts.encode([task.encoded[loop] for task in tasks])
            known = {key: value.to(parts.device) for key, value in {**text, **sizes, **entered.told}.items()}
            conditioning = conditioning_for(parts.model, known)
            negative = [task.negative or "" for task in tasks] if tasks[0].negative is not None else None
            null = null_conditioning_for(parts.model, self.texts, conditioning, negative)
            conditioning, null = without_padding(conditioning, null)
            with self._cached() as step_done:
                return parts.scheduler.sample(
                    parts.model,
                    z.to(parts.device),
                    parts.model.encode_text(conditioning),
                    parts.model.encode_text(null) if null else null,
                    draws=draws,
                    mask=None if entered.mask is None else entered.mask.to(parts.device),
                    progress=self._telling(step_done),
                    sizes={key: known[key] for key in sizes},
                )

    def _telling(self, step_done: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def progress(done: int, total: int) -> None:
            step_done(done, total)
            self.progress("denoise", done, total)

        return progress

    def _cached(self) -> AbstractContextManager[Callable[[int, int], None]]:
        """The step cache at work, if there is one; gives what is told of every step."""
        if self.step_cache is None:
            return nullcontext(lambda done, total: None)
        return self.step_cache.applied(self.parts.model, self.parts.scheduler.num_sampling_steps)

    def _decoded(self, latents: Tensor, size: Size3) -> Iterator[tuple[int, Tensor]]:
        """Pieces of whole chunks with the number of their first frame, on the device."""
        vae, chunk = self.parts.vae, self.parts.vae.chunk
        frames = size[0] if chunk is None else min(size[0], chunk * max(1, AT_ONCE // chunk))
        step = _latents(vae, frames, size)
        for number, first in enumerate(range(0, size[0], frames)):
            count = min(frames, size[0] - first)
            with torch.inference_mode(), self.parts.parallel.autocast():
                piece = vae.decode(latents[:, :, number * step : (number + 1) * step], count)
            yield first, piece.float()


def _latents(vae: object, frames: int, size: Size3) -> int:
    return vae.latent_size((frames, *size[1:]))[0]  # type: ignore[attr-defined]


def _forget(references: list[Any], given: Sequence[Given], loop: int, own: int, emptied: Callable[[Any], Any]) -> None:
    """Give up the memory of ends of clips to which nothing refers from `loop` on; their numbers and lengths stay. own:
    how many references the prompt has itself."""
    asked = {one.reference for one in given if one.loop >= loop}
    if min(asked) < -1:  # counted from an end that moves
        return
    for number in range(own, len(references) - 1):
        if number not in asked:
            references[number] = emptied(references[number])
