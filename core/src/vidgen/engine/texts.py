"""Texts of a sampling run, encoded before any clip is made: the encoder can then give up its memory."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from vidgen.engine.padding import lengthened, trimmed
from vidgen.interfaces import TextEncoder


class EncodedTexts:
    """What a text encoder makes of texts, each worked out once and kept on the CPU, without the rows of zeros behind
    its end. autocast: makes the context of encoding."""

    def __init__(self, encoder: TextEncoder, autocast: Callable[[], AbstractContextManager[Any]]) -> None:
        self.width, self.max_length = encoder.width, encoder.max_length
        self._encoder, self._autocast = encoder, autocast
        self._rows: dict[str, dict[str, Tensor]] = {}
        self._lengths: dict[str, int] = {}

    def prepare(self, texts: Iterable[str]) -> None:
        """Encode those that are not there yet, then release the encoder. Raises: UserError, for one not taken."""
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if not new:
            return
        with torch.inference_mode(), self._autocast():
            encoded = {name: value.cpu() for name, value in self._encoder.encode(new).items()}
        self._encoder.release()
        for row, text in enumerate(new):
            self._rows[text], self._lengths = trimmed({name: value[row] for name, value in encoded.items()})

    def encode(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """As `TextEncoder.encode`, on the CPU."""
        self.prepare(texts)
        rows = [lengthened(self._rows[text], self._lengths) for text in texts]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def release(self) -> None:
        """Nothing is held but results."""
