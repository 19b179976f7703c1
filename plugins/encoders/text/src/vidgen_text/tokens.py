"""Texts to tokens: a published tokenizer, and batches of tokens of similar length.

Letters: B texts, G texts of a group, N tokens.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from transformers import AutoTokenizer
from vidgen.errors import RunError, UserError

from vidgen_text import PretrainedOptions
from vidgen_text.captions import clean_caption
from vidgen_text.identity import identity
from vidgen_text.places import Place, find_tokenizer, tokenizer_files


class Tokens:
    """Texts as token numbers.

    options: how many tokens are kept of a text, and whether it is cleaned first. vocabulary: numbers the encoder knows.
    end, pad: the numbers of the end marker and of padding. identity: of the tokenizer's files and the encoder's
    configuration, see `vidgen_text.identity`.
    """

    def __init__(self, place: Place, options: PretrainedOptions, vocabulary: int) -> None:
        folder = find_tokenizer(place)
        self.max_length, self.clean, self.vocabulary = options.model_max_length, options.clean_caption, vocabulary
        self._tokenizer = _load(folder)
        empty, end, pad = self._numbers([""])[0], self._tokenizer.eos_token_id, self._tokenizer.pad_token_id
        if not empty or end not in (None, empty[-1]):
            raise UserError(f"the tokenizer in {folder} sets no end marker after a text: it is another encoder's")
        self.end, self.pad = empty[-1], 0 if pad is None else int(pad)
        described = json.dumps(dict(place.config), sort_keys=True).encode()
        self.identity = identity([described, *(path.read_bytes() for path in tokenizer_files(folder))])

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """The numbers of each text, the end marker last, also of a text that was cut.

        Raises: UserError, naming the first text that is none, or that the encoder has no numbers for.
        """
        _check(texts)
        numbers = self._numbers([clean_caption(text) for text in texts] if self.clean else list(texts))
        for index, one in enumerate(numbers):
            if max(one) >= self.vocabulary:
                raise UserError(
                    f"text {index} has token {max(one)}, but the encoder knows {self.vocabulary}: the tokenizer is "
                    "another encoder's"
                )
        return numbers

    def _numbers(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded = self._tokenizer(texts, truncation=True, max_length=self.max_length, return_attention_mask=False)
        return list(encoded["input_ids"])


@frozen
class Group:
    """Texts worked on together: their places in the call, their numbers (G, N) padded on the right, and the number of
    tokens of each."""

    rows: Tensor
    ids: Tensor
    lengths: Tensor

    @property
    def visible(self) -> Tensor:
        """(G, N) bool, true for tokens."""
        return torch.arange(self.ids.shape[1]) < self.lengths[:, None]

    @property
    def padded(self) -> bool:
        """Whether there is a place without a token."""
        return bool((self.lengths < self.ids.shape[1]).any())


def group(
    numbers: Sequence[Sequence[int]], *, size: int | None, room: int, sort: bool, pad: int, length: int | None = None
) -> Iterator[Group]:
    """All texts in groups, each padded with `pad` to its longest, or to `length`.

    size: texts per group; None: as many as make `room` tokens, padding included. sort: longest first, else in the order
    given.
    """
    lengths = [length or len(one) for one in numbers]
    rows = range(len(numbers))
    order = sorted(rows, key=lambda row: -lengths[row]) if sort else rows
    start = 0
    while start < len(order):
        stop, longest = start, 0
        while stop < len(order):
            longest = max(longest, lengths[order[stop]])
            full = stop - start >= size if size else (stop - start + 1) * longest > room
            if full and stop > start:
                break
            stop += 1
        yield _group(order[start:stop], numbers, pad, length)
        start = stop


def _group(rows: Sequence[int], numbers: Sequence[Sequence[int]], pad: int, length: int | None) -> Group:
    lengths = [len(numbers[row]) for row in rows]
    longest = length or max(lengths)
    ids = [[*numbers[row], *[pad] * (longest - len(numbers[row]))] for row in rows]
    return Group(torch.tensor(list(rows)), torch.tensor(ids), torch.tensor(lengths))


def _load(folder: Path) -> Any:
    """A tokenizer of transformers; never one that brings code of its own."""
    try:
        return AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, truncation_side="right"
        )
    except Exception as error:  # a damaged file raises nearly anything
        reason = (str(error).splitlines() or [""])[0]
        raise RunError(f"the tokenizer in {folder} cannot be read ({type(error).__name__}: {reason})") from error


def _check(texts: Sequence[str]) -> None:
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(
                f"text {index} is {type(text).__name__}, not text: decode bytes with the encoding of their file, "
                "mostly UTF-8"
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"text {index} holds {text[error.start]!r} at character {error.start}, which is no character: the file "
                "it comes from is not UTF-8; convert it, or correct the caption"
            ) from None
