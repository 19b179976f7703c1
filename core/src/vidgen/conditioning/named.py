"""Given frames as people write them: `{image: a.png, at: 0}`, in video frames; translated to those of strategies."""

import re
from collections.abc import Callable, Iterator, Sequence

from attrs import field, frozen, validators

from vidgen.component import option
from vidgen.conditioning.latent_time import LatentTime
from vidgen.conditioning.strategy import Given
from vidgen.errors import Problem, UserError

RANGE = re.compile(r"\s*(?:(?P<one>-?[0-9]{1,9})|(?P<first>-?[0-9]{1,9})?\s*\.\.\s*(?P<end>-?[0-9]{1,9})?)\s*")


def _is_range(instance: object, attribute: object, value: object) -> None:
    if isinstance(value, str) and not RANGE.fullmatch(value):
        raise ValueError(f"expected a range such as 0..8, -8.. or ..16, or the number of one frame, got {value!r}")


@frozen(kw_only=True)
class ConditionOptions:
    """A picture or frames of a video that a clip is given. All numbers are video frames, not latent ones."""

    image: str | None = option(None, "A picture: a file, or an address where `allow_download` is set.")
    video: str | None = option(None, "A video, likewise.")
    reference: int | None = option(
        None,
        "In place of both: which of the prompt's `reference_path`, from 0.",
        validator=validators.optional(validators.ge(0)),
    )
    at: int = option(0, "Frame of the clip where it begins; negative ones count from the end, -1 is the last.")
    frames: int | str | None = option(
        None,
        "Which of the video's frames: `a..b` from a to before b, `-8..` the last 8, or one number; null: all.",
        validator=_is_range,
    )
    length: int | None = option(None, "At most so many of them.", validator=validators.optional(validators.ge(1)))
    edit: float = option(
        0.0,
        "0 keeps the frames, between: changes them, the more the nearer to 1, 1 makes them anew.",
        validator=[validators.ge(0), validators.le(1)],
    )
    loop: int = option(0, "Which clip of a long video, from 0.", validator=validators.ge(0))

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys."""
        sources = [name for name in ("image", "video", "reference") if getattr(self, name) is not None]
        if len(sources) != 1:
            what = f"{' and '.join(sources)} are given" if sources else "there is no picture or video"
            yield Problem((), what, ("give one of image, video and reference",))
        if self.image is not None and not (self.frames is None and self.length is None):
            yield Problem(
                ("frames" if self.frames is not None else "length",), "an image has one frame", ("leave it out",)
            )


@frozen(kw_only=True)
class Conditions:
    """references: files and addresses. given: which of their latent frames go where. notes: what could not be done as
    it was asked, one sentence each."""

    references: tuple[str, ...] = ()
    given: tuple[Given, ...] = ()
    notes: tuple[str, ...] = field(default=())


def translate(
    conditions: Sequence[ConditionOptions],
    time: LatentTime,
    num_frames: Callable[[str], int],
    references: Sequence[str] = (),
) -> Conditions:
    """Conditions in latent frames.

    time: of the clips. num_frames: file or address of a video -> its video frames. references: those that the prompt
    has already; the result's begin with them, and a file that is used twice stands there once.

    A place within frames that are coded together is moved to the nearest where such frames begin, and a length to the
    nearest that fills latent frames; either is told in a note.

    Raises: UserError, for frames that are not there, naming the condition.
    """
    names, given, notes = list(references), [], []
    for number, condition in enumerate(conditions):
        name = _name(condition, references, f"conditions[{number}]")
        if name not in names:
            names.append(name)
        frames = 1 if condition.image is not None else num_frames(name)
        translation = _Translation(condition, time, name, frames, f"conditions[{number}]")
        given.append(translation.given(names.index(name)))
        notes += translation.notes
    return Conditions(references=tuple(names), given=tuple(given), notes=tuple(notes))


def _name(condition: ConditionOptions, references: Sequence[str], key: str) -> str:
    if condition.reference is None:
        return condition.image or condition.video or ""
    if condition.reference >= len(references):
        there = f"0..{len(references) - 1}" if references else "none"
        raise UserError(f"{key}.reference: there is no reference {condition.reference}; reference_path has {there}")
    return references[condition.reference]


class _Translation:
    """One condition on its way. total: video frames of the reference. notes: filled on the way."""

    def __init__(self, condition: ConditionOptions, time: LatentTime, name: str, total: int, key: str) -> None:
        self._condition, self._time, self._name, self._total, self._key = condition, time, name, total, key
        self.notes: list[str] = []

    def given(self, reference: int) -> Given:
        condition, time = self._condition, self._time
        first, end = self._range()
        at = self._there(condition.at, time.num_frames, "at", "the clip")
        start = self._latent(at, time.num_frames, "at", "the clip")
        reference_start = self._latent(first, self._total, "frames", self._name)
        wanted = min(end - first, condition.length or end - first)
        room = min(time.latents - start, time.count_reference(self._name, self._total) - reference_start)
        length = self._length(wanted, start, room)
        return Given(
            loop=condition.loop,
            reference=reference,
            reference_start=reference_start,
            start=start,
            length=length,
            edit=condition.edit,
        )

    def _range(self) -> tuple[int, int]:
        """First frame of the reference that is used, and the one behind the last."""
        frames, total = self._condition.frames, self._total
        found = RANGE.fullmatch("0.." if frames is None else str(frames))
        assert found, "checked with the options"
        if found["one"] is not None:
            first = self._there(int(found["one"]), total, "frames", self._name)
            return first, first + 1
        first = self._there(int(found["first"] or 0), total, "frames", self._name)
        end = int(found["end"] or total)
        end += total if end < 0 else 0
        if not first < end <= total:
            raise self._wrong(
                "frames", f"{frames} holds no frame of {self._name} or frames behind its last: it has {total}"
            )
        return first, end

    def _there(self, frame: int, total: int, key: str, what: str) -> int:
        found = frame + total if frame < 0 else frame
        if not 0 <= found < total:
            raise self._wrong(key, f"there is no frame {frame} in {what}, which has {total}: {-total}..{total - 1}")
        return found

    def _latent(self, frame: int, total: int, key: str, what: str) -> int:
        """The latent frame with which the frame begins, or the nearest place where one may."""
        time = self._time
        near = self._of_chunk(frame, total, time.chunk) if time.chunk else time.frames_of(time.latents_in(frame))
        if near != frame:
            self._note(key, f"frame {frame} of {what} is coded together with those before it; frame {near} is taken")
        return time.latents_in(near)

    def _of_chunk(self, frame: int, total: int, chunk: int) -> int:
        whole, rest = divmod(frame, chunk)
        up = rest > chunk / 2 and (whole + 1) * chunk < total
        return (whole + up) * chunk

    def _length(self, wanted: int, start: int, room: int) -> int:
        """Latent frames for `wanted` video frames, at most `room`, at least one."""
        time = self._time
        fewer = max(1, time.latents_in(wanted))
        more = max(fewer, time.latents_in(wanted) + 1)
        nearest = more if time.frames_of(more) - wanted <= abs(wanted - time.frames_of(fewer)) else fewer
        length = min(nearest, room)
        if length < 1:
            raise self._wrong("at", f"no latent frame is left for {self._name} there")
        ended = start + length == time.latents
        held = (time.num_frames if ended else time.frames_of(start + length)) - time.frames_of(start)
        if held != wanted:
            self._note("length", f"{wanted} frames of {self._name} stand in the place of {held} of the clip")
        return length

    def _note(self, key: str, what: str) -> None:
        self.notes.append(f"{self._key}.{key}: {what}")

    def _wrong(self, key: str, what: str) -> UserError:
        return UserError(f"{self._key}.{key}: {what}")
