"""Texts of a sampling run, encoded once before any clip is made: the encoder can then give up its memory."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from vidgen.interfaces import TextEncoder


class EncodedTexts:
    """What a text encoder makes of texts, on the CPU, without the rows of zeros behind a text's end."""

    def __init__(self, encoder: TextEncoder, texts: Iterable[str], autocast: AbstractContextManager[Any]) -> None:
        """Encodes each text once, then releases the encoder. Raises: UserError, for one that it does not take."""
        unique = list(dict.fromkeys(texts))
        self._rows: dict[str, dict[str, Tensor]] = {}
        self._lengths: dict[str, int] = {}
        if not unique:
            return
        with torch.inference_mode(), autocast:
            encoded = {name: value.cpu() for name, value in encoder.encode(unique).items()}
        encoder.release()
        self._lengths = {name: value.shape[1] for name, value in encoded.items() if value.ndim > 1}
        for row, text in enumerate(unique):
            self._rows[text] = {name: _trimmed(value[row]) for name, value in encoded.items()}

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """As `TextEncoder.encode`, of texts among those encoded, on the CPU."""
        rows = [self._rows[text] for text in texts]
        return {name: torch.stack([self._whole(name, row[name]) for row in rows]) for name in rows[0]}

    def _whole(self, name: str, row: Tensor) -> Tensor:
        if name not in self._lengths:
            return row
        whole = row.new_zeros(self._lengths[name], *row.shape[1:])
        whole[: len(row)] = row
        return whole


def _trimmed(row: Tensor) -> Tensor:
    """Up to the last entry that is not zero."""
    if row.ndim == 0:
        return row
    used = row.flatten(1).any(dim=1) if row.ndim > 1 else row.bool()
    places = used.nonzero()
    return row[: int(places[-1]) + 1].clone() if len(places) else row[:0]
