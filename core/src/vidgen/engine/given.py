"""How a model comes by the frames that prompts give it: in the place of noise, or shown beside it.

Letters: B samples, C channels, F video frames, T H W latent frames/rows/columns.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from vidgen.conditioning.frame_masks import blanked, video_mask
from vidgen.conditioning.latent_time import LatentTime
from vidgen.conditioning.placement import place
from vidgen.conditioning.spans import spans
from vidgen.conditioning.strategy import Given
from vidgen.engine import media
from vidgen.engine.parts import Parts
from vidgen.engine.references import References
from vidgen.errors import UserError
from vidgen.interfaces import Size3


@frozen(kw_only=True)
class Entered:
    """mask: for the scheduler, (B, T), 1 generate, 0 keep, between edit; None: everything is generated. told: what the
    model is told besides, on the CPU."""

    mask: Tensor | None = None
    told: Mapping[str, Tensor] = field(factory=dict)


class Giving(Protocol):
    """What stands between `Given` frames and a sampler. Sizes are pixels (T, H, W) of the clip; a reference is what
    `open` or `carry` made, and all frames are counted in the unit of `time`.

    clip: frames that do not fit are left out instead of refused.
    """

    @property
    def clip(self) -> bool:
        """See above."""
        ...

    def time(self, size: Size3) -> LatentTime:
        """Of a clip, in what frames are counted in."""
        ...

    def align(self, size: Size3) -> int | None:
        """What given frames begin at multiples of; None: anywhere."""
        ...

    def check(self, given: Sequence[Given], loops: int, edit: float) -> None:
        """edit: of the frames that clips of a long video share. Raises: UserError, when the model cannot have them."""
        ...

    def open(self, name: str, size: Size3) -> Any:
        """The reference of a file or an address. Raises: UserError, RunError."""
        ...

    def carry(self, video: Tensor) -> Sequence[Any]:
        """References of the end of each clip, (B, 3, t, H, W) in about [-1, 1]."""
        ...

    def emptied(self, reference: Any) -> Any:
        """As long as another reference, which is asked for no more, without its memory."""
        ...

    def enter(
        self,
        z: Tensor,
        references: Sequence[Sequence[Any]],
        given: Sequence[Sequence[Given]],
        loop: int,
        size: Size3,
    ) -> Entered:
        """Give a batch what is given in this loop. z: its noise (B, C, T, H, W); changed in place or not at all.
        references, given: of each sample. Raises: UserError, for frames that are not there or do not fit."""
        ...


def make_giving(parts: Parts, references: References, *, model: str, align: int | None, clip: bool) -> Giving:
    """The way of the parts' model. model: its name, for messages. align: None: what the autoencoder codes together."""
    way: type[Beside | InPlace] = Beside if "video_mask" in parts.model.conditioning else InPlace
    return way(parts=parts, references=references, model=model, every=align, clip=clip)


def takes_given_frames(model: Any) -> bool:
    """Whether a model can be given frames at all."""
    return bool(model.conditioning & {"x_mask", "video_mask"})


@frozen(kw_only=True)
class _Way:
    """model: its name. every: given frames begin at multiples of it, where a recipe says so."""

    parts: Parts
    references: References
    model: str
    every: int | None
    clip: bool


class InPlace(_Way):
    """Latents of given frames stand where they belong in the noise, the scheduler keeps them, and `x_mask` tells the
    model."""

    def time(self, size: Size3) -> LatentTime:
        """See `Giving`."""
        return LatentTime.of(self.parts.vae, size)

    def align(self, size: Size3) -> int | None:
        """See `Giving`."""
        return self.time(size).align if self.every is None else self.every

    def check(self, given: Sequence[Given], loops: int, edit: float) -> None:
        """See `Giving`."""
        if (given or loops > 1) and not takes_given_frames(self.parts.model):
            raise UserError(
                f"{self.model} cannot be told which frames are given: it takes no `x_mask`. Leave references, "
                "conditions and loop out, or use a model that does, such as STDiT2, STDiT3 or OpenSoraInpaint_v1_3."
            )

    def open(self, name: str, size: Size3) -> Tensor:
        """(C, T, H, W) of the whole file."""
        return self.references.latents(name, size[1:])

    def carry(self, video: Tensor) -> Sequence[Tensor]:
        """See `Giving`."""
        return list(self.references.encode(video))

    def emptied(self, reference: Tensor) -> Tensor:
        """See `Giving`."""
        return reference.new_zeros(()).expand_as(reference)

    def enter(
        self,
        z: Tensor,
        references: Sequence[Sequence[Tensor]],
        given: Sequence[Sequence[Given]],
        loop: int,
        size: Size3,
    ) -> Entered:
        """See `Giving`."""
        if not any(given):
            return Entered()
        return Entered(mask=place(z, references, given, loop, self.align(size), clip=self.clip))


@frozen(kw_only=True)
class Footage:
    """A reference in pixels. read(start, end): some of its frames, (3, end - start, H, W) in [-1, 1]."""

    num_frames: int
    read: Callable[[int, int], Tensor]


class Beside(_Way):
    """Given frames stand among grey ones in a clip that the model is shown as latents, beside noise of which nothing is
    kept: it makes them again. They are counted in video frames, of which each is shown or not."""

    def time(self, size: Size3) -> LatentTime:
        """See `Giving`."""
        return LatentTime.of_video(size[0])

    def align(self, size: Size3) -> int | None:
        """See `Giving`."""
        return self.every

    def check(self, given: Sequence[Given], loops: int, edit: float) -> None:
        """See `Giving`."""
        for ratio in (*(one.edit for one in given), *([edit] if loops > 1 else [])):
            if 0 < ratio < 1:
                raise UserError(
                    f"edit: {self.model} is shown given frames as they are, and cannot be asked to change them by "
                    f"{ratio:g}\n    accepted as edit ratio: 0, or 1 to make them anew"
                )

    def open(self, name: str, size: Size3) -> Footage:
        """See `Giving`."""

        def read(start: int, end: int) -> Tensor:
            return media.to_unit(self.references.frames(name, size[1:], start, end))

        return Footage(num_frames=self.references.num_frames(name), read=read)

    def carry(self, video: Tensor) -> Sequence[Footage]:
        """See `Giving`."""
        return [_footage(one) for one in video.clamp(-1, 1).cpu()]

    def emptied(self, reference: Footage) -> Footage:
        """See `Giving`."""
        return evolve(reference, read=_nothing)

    def enter(
        self,
        z: Tensor,
        references: Sequence[Sequence[Footage]],
        given: Sequence[Sequence[Given]],
        loop: int,
        size: Size3,
    ) -> Entered:
        """See `Giving`."""
        video, mask = torch.zeros(len(z), 3, *size), torch.ones(len(z), size[0], dtype=torch.bool)
        for b in range(len(z)):
            lengths = [one.num_frames for one in references[b]]
            unit = self.time(size).unit
            for span in spans(given[b], lengths, size[0], loop, self.every, clip=self.clip, unit=unit):
                start = span.reference_start
                video[b, :, span.frames] = references[b][span.reference].read(start, start + span.length)
                mask[b, span.frames] = span.edit > 0
        time = LatentTime.of(self.parts.vae, size)
        shown = self.references.encode_in_pieces(blanked(video, mask))
        return Entered(told={"masked_video": shown, "video_mask": video_mask(mask, time, (*shown.shape[2:],))})


def _footage(video: Tensor) -> Footage:
    return Footage(num_frames=video.shape[1], read=lambda start, end: video[:, start:end])


def _nothing(start: int, end: int) -> Tensor:
    raise AssertionError("frames of this clip are asked for no more")
