"""Texts that change from loop to loop: `|0|first|4|then` is `first` in loops 0 to 3 and `then` from loop 4 on.

Only a prompt that begins with `|0|` is such a schedule.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from vidgen.conditioning.caret import pointed
from vidgen.errors import UserError

BEGINNING = "|0|"
INDEX = re.compile(r"\s*[+-]?[0-9]{1,6}\s*")


def split_schedule(prompt: str) -> tuple[list[str], list[int] | None]:
    """The texts, stripped, and the loops with which they begin; the prompt as it is and None where it is no schedule.

    Raises: UserError, pointing at the character, for an index that is no number or has no text behind it.
    """
    if not prompt.startswith(BEGINNING):
        return [prompt], None
    parts = list(_parts(prompt))
    return [text.strip() for _, text in parts], [start for start, _ in parts]


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
    return _repeated(list(_parts(prompt)), loop + 1)[loop]


def texts_of_loops(prompt: str, loops: int) -> list[str]:
    """The texts of all loops, as Open-Sora 1.1 has them: they must come to exactly `loops`.

    Raises: UserError, where a text begins too late to be used, or as `split_schedule`.
    """
    if not prompt.startswith(BEGINNING):
        return [prompt] * loops
    texts = _repeated(list(_parts(prompt)), loops)
    if len(texts) != loops:
        raise UserError(f"prompt: {prompt!r} has texts for {len(texts)} loops, but loop is {loops}")
    return texts


def _repeated(parts: Sequence[tuple[int, str]], loops: int) -> list[str]:
    """Each text until the next one begins, the last one until `loops`; none where that is negative."""
    ends = [start for start, _ in parts[1:]] + [loops]
    return [text for (start, text), end in zip(parts, ends, strict=True) for _ in range(end - start)]


def _parts(prompt: str) -> Iterator[tuple[int, str]]:
    pieces = prompt.split("|")[1:]
    at = 1
    for place in range(0, len(pieces), 2):
        index = pieces[place]
        if not INDEX.fullmatch(index):
            raise _wrong(f"{index!r} is no number of a loop", prompt, at)
        if place + 1 == len(pieces):
            raise _wrong(f"no text behind loop {index.strip()}", prompt, at)
        yield int(index), pieces[place + 1]
        at += len(index) + len(pieces[place + 1]) + 2


def _wrong(what: str, prompt: str, at: int) -> UserError:
    return UserError(f"prompt: {what}\n{pointed(prompt, at)}\n    accepted: |0|first text|4|text from loop 4 on")
