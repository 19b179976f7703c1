"""Texts that change from loop to loop: `|0|first|4|then` is `first` in loops 0 to 3 and `then` from loop 4 on.

Only a prompt that begins with `|0|` is such a schedule.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from vidgen.conditioning.caret import pointed
from vidgen.errors import UserError

BEGINNING = "|0|"
INDEX = re.compile(r"\s*[+-]?[0-9]{1,6}\s*")


@frozen
class _Part:
    """`text` from loop `start` on; the number of that loop is at character `at` of the prompt."""

    start: int
    text: str
    at: int


def split_schedule(prompt: str) -> tuple[list[str], list[int] | None]:
    """The texts, stripped, and the loops with which they begin; the prompt as it is and None where it is no schedule.

    Raises: UserError, pointing at the character, for an index that is no number or has no text behind it.
    """
    if not prompt.startswith(BEGINNING):
        return [prompt], None
    parts = list(_parts(prompt))
    return [part.text.strip() for part in parts], [part.start for part in parts]


def merge_schedule(texts: Sequence[str], starts: Sequence[int] | None) -> str:
    """The prompt that splits into these."""
    if starts is None:
        (prompt,) = texts
        return prompt
    return "".join(f"|{start}|{text}" for start, text in zip(starts, texts, strict=True))


def change_texts(prompt: str, change: Callable[[str], str]) -> str:
    """The prompt with each of its texts changed. Raises: UserError, as `split_schedule`."""
    texts, starts = split_schedule(prompt)
    return merge_schedule([change(text) for text in texts], starts)


def text_of_loop(prompt: str, loop: int) -> str:
    """The text of one loop: of those begun so far the last. Not stripped. Raises: UserError, as `split_schedule`."""
    if not prompt.startswith(BEGINNING):
        return prompt
    return _repeated(list(_parts(prompt)), loop + 1)[loop].text


def check_schedule(prompt: str, loops: int) -> None:
    """Raises: UserError, pointing at the first text that none of so many loops has, or as `split_schedule`."""
    if not prompt.startswith(BEGINNING):
        return
    parts = list(_parts(prompt))
    begun = [_repeated(parts, loop + 1)[loop] for loop in range(loops)]
    number = next((number for number, part in enumerate(parts) if part not in begun), None)
    if number is not None:
        raise _unused(parts[number : number + 2], prompt, loops)


def texts_of_loops(prompt: str, loops: int) -> list[str]:
    """The texts of all loops, as Open-Sora 1.1 has them: they must come to exactly `loops`.

    Raises: UserError, where a text begins too late to be used, or as `split_schedule`.
    """
    if not prompt.startswith(BEGINNING):
        return [prompt] * loops
    texts = _repeated(list(_parts(prompt)), loops)
    if len(texts) != loops:
        raise UserError(f"prompt: {prompt!r} has texts for {len(texts)} loops, but loop is {loops}")
    return [part.text for part in texts]


def _repeated(parts: Sequence[_Part], loops: int) -> list[_Part]:
    """Each text until the next one begins, the last one until `loops`; none where that is negative."""
    ends = [part.start for part in parts[1:]] + [loops]
    return [part for part, end in zip(parts, ends, strict=True) for _ in range(end - part.start)]


def _parts(prompt: str) -> Iterator[_Part]:
    pieces = prompt.split("|")[1:]
    at = 1
    for place in range(0, len(pieces), 2):
        index = pieces[place]
        if not INDEX.fullmatch(index):
            raise _wrong(f"{index!r} is no number of a loop", prompt, at)
        if place + 1 == len(pieces):
            raise _wrong(f"no text behind loop {index.strip()}", prompt, at)
        yield _Part(int(index), pieces[place + 1], at)
        at += len(index) + len(pieces[place + 1]) + 2


def _unused(parts: Sequence[_Part], prompt: str, loops: int) -> UserError:
    """Of a text that no loop has, and the one behind it."""
    start, at = parts[0].start, parts[0].at
    if start >= loops:
        what = f"a text is for loop {start}, but only 0..{loops - 1} are sampled"
        hint = f"set loop: {start + 1} or more, or leave that text out"
    else:
        what = f"the text for loop {start} is never used: the one behind it is for loop {parts[1].start}"
        hint = "number the texts by loops that rise, such as |0|first text|2|second text|4|third text"
    return UserError(f"prompt: {what}\n{pointed(prompt, at)}\n    {hint}")


def _wrong(what: str, prompt: str, at: int) -> UserError:
    return UserError(f"prompt: {what}\n{pointed(prompt, at)}\n    accepted: |0|first text|4|text from loop 4 on")
