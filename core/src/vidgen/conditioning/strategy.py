"""Mask strategies: texts that say which latent frames of which reference stand where in a clip.

`0,1,-8,0,8,0.4` is, in loop 0, of reference 1, from 8 frames before its end, to frame 0 of the clip, 8 frames, edited
with ratio 0.4. Missing numbers are 0,0,0,0,1,0; groups are joined with `;`. All frames are latent ones; `named` has a
form in video frames.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import isfinite
from typing import Any, Literal

from attrs import astuple, frozen

from vidgen.conditioning.caret import pointed
from vidgen.errors import UserError

Form = Literal["v1.2", "v1.1", "v1.0"]
WHOLE = re.compile(r"\s*[+-]?[0-9]{1,9}\s*")
FIELDS = {
    "loop": "loop",
    "reference": "reference",
    "reference_start": "reference start",
    "start": "start",
    "length": "length",
    "edit": "edit ratio",
}
V1_0_FIELDS = ("reference", "loop", "reference start", "length", "location")
ACCEPTED = f'groups of 1 to 6 numbers "{", ".join(FIELDS.values())}", joined with ";", such as 0;0,1,0,-1,1'
V1_0_ACCEPTED = f'groups of 5 whole numbers "{", ".join(V1_0_FIELDS)}", joined with ";", such as 0,0,0,1,0;1,0,0,1,-1'


@frozen(kw_only=True)
class Given:
    """Frames of a reference that a clip is given. Negative numbers count from the end; all frames are latent ones.

    loop: which clip of a long video. reference: which of the sample's references. reference_start: its first frame
    that is used. start: where in the clip that comes to lie. length: frames, as far as both have them. edit: 0 keeps
    the frames, 1 makes them anew, between: they are kept until so much of the noise is left, and then changed.
    """

    loop: int = 0
    reference: int = 0
    reference_start: int = 0
    start: int = 0
    length: int = 1
    edit: float = 0.0


def parse_strategy(text: str | None, form: Form = "v1.2") -> list[Given]:
    """What a strategy gives, in its order; nothing for null or, but for v1.1, an empty text.

    form: v1.2 and v1.1 have the numbers above; v1.0 is that of its documentation: reference, loop, reference start,
    length, location, where location 0 is the beginning, 1 and -1 are the end of the clip.

    Raises: UserError, pointing at the character that is wrong.
    """
    if text is None or (text == "" and form != "v1.1"):
        return []
    read = _read_v1_0 if form == "v1.0" else _read
    return [read(_Group(text, at, piece, form)) for piece, at in _pieces(text, ";", 0)]


def to_text(given: Iterable[Given]) -> str:
    """The strategy that gives this, all six numbers of each written out."""
    return ";".join(",".join(map(str, astuple(one))) for one in given)


def check_loops(given: Iterable[Given], loops: int) -> None:
    """Raises: UserError, when frames are meant for a loop that is not sampled."""
    for one in given:
        check_loop(one.loop, loops, f"mask_strategy: {to_text([one])}")


def check_loop(loop: int, loops: int, what: str) -> None:
    """Raises: UserError, when `what` is for a loop that is not sampled."""
    if loop < 0:
        raise UserError(f"{what} is for loop {loop}; loops are counted from 0")
    if loop >= loops:
        raise UserError(
            f"{what} is for loop {loop}, but only 0..{loops - 1} are sampled\n"
            f"    set loop: {loop + 1} or more, or say another loop"
        )


@frozen
class _Group:
    """One group of a strategy, `piece`, which begins at character `at` of `text`."""

    text: str
    at: int
    piece: str
    form: Form

    def numbers(self) -> Sequence[tuple[str, int]]:
        """The numbers as written, and where each begins."""
        if not self.piece.strip():
            raise self.wrong("numbers are missing", self.at)
        return list(_pieces(self.piece, ",", self.at))

    def whole(self, piece: str, at: int, name: str) -> int:
        if not WHOLE.fullmatch(piece):
            raise self.wrong(f"the {name} must be a whole number, not {piece.strip()!r}", _first(piece, at))
        return int(piece)

    def length(self, piece: str, at: int) -> int:
        length = self.whole(piece, at, "length")
        if length < 0:
            raise self.wrong(f"the length must not be below 0, it is {length}", _first(piece, at))
        return length

    def edit(self, piece: str, at: int) -> float:
        try:
            edit = float(piece)
        except ValueError:
            edit = float("nan")
        if not (isfinite(edit) and 0 <= edit <= 1):
            raise self.wrong(
                f"the edit ratio must be a number from 0 (keep) to 1 (make anew), not {piece.strip()!r}",
                _first(piece, at),
            )
        return edit

    def wrong(self, what: str, at: int) -> UserError:
        accepted = V1_0_ACCEPTED if self.form == "v1.0" else ACCEPTED
        return UserError(f"mask_strategy: {what}\n{pointed(self.text, at)}\n    accepted: {accepted}")


def _read(group: _Group) -> Given:
    numbers = group.numbers()
    if len(numbers) > len(FIELDS):
        raise group.wrong(f"{len(numbers)} numbers, at most {len(FIELDS)} have a meaning", numbers[len(FIELDS)][1])
    read: dict[str, Callable[[str, int], float]] = {"length": group.length, "edit": group.edit}
    values: dict[str, Any] = {}
    for (name, words), (piece, at) in zip(FIELDS.items(), numbers, strict=False):
        values[name] = read[name](piece, at) if name in read else group.whole(piece, at, words)
    return Given(**values)


def _read_v1_0(group: _Group) -> Given:
    numbers = group.numbers()
    if len(numbers) != len(V1_0_FIELDS):
        end = numbers[min(len(numbers), len(V1_0_FIELDS) + 1) - 1][1]
        raise group.wrong(f"{len(numbers)} numbers, this form has {len(V1_0_FIELDS)}", end)
    reference, loop, reference_start = (
        group.whole(piece, at, name) for name, (piece, at) in zip(V1_0_FIELDS, numbers[:3], strict=False)
    )
    length = group.length(*numbers[3])
    location = group.whole(*numbers[4], "location")
    if location not in (0, 1, -1):
        raise group.wrong(
            f"the location {location} is none of 0 (beginning), 1 and -1 (end); mask_strategy_format: v1.2 takes any",
            _first(*numbers[4]),
        )
    start = -length if location else 0
    return Given(loop=loop, reference=reference, reference_start=reference_start, start=start, length=length)


def _pieces(text: str, separator: str, at: int) -> Iterator[tuple[str, int]]:
    """The pieces of `text`, which begins at character `at` of the whole, and where each begins in that."""
    for piece in text.split(separator):
        yield piece, at
        at += len(piece) + len(separator)


def _first(piece: str, at: int) -> int:
    """Where the piece's first character that is not blank lies."""
    return at + len(piece) - len(piece.lstrip()) if piece.strip() else at
