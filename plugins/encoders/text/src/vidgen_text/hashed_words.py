"""A fixed random vector per word: enough for a model to tell captions apart, and no weights to fetch.

Letters: B texts, N tokens, D width.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from vidgen.interfaces import Context
from vidgen.rng import address

from vidgen_text import HashedWordsOptions

END = "\n"  # what no word can be


class HashedWords(nn.Module):
    """See `vidgen.interfaces.TextEncoder`. Knows no meaning: "kitten" is as far from "cat" as "rain" is."""

    end_marker: Tensor

    def __init__(self, *, width: int, max_length: int, positions: bool, seed: int) -> None:
        super().__init__()
        self.width = width
        self.max_length = max_length
        self.positions = positions
        self.seed = seed
        # Held as a buffer so that device and dtype follow `.to`; not saved, the seed makes it again.
        self.register_buffer("end_marker", torch.from_numpy(word_vector(END, width, seed).copy()), persistent=False)

    def encode(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`y` (B, N, D), a vector of unit variance per token and zeros beyond; `mask` (B, N) int64, 1 for tokens.

        A text is its words in order and the end marker, which is always the last token kept: a text of N words or more
        is cut to N - 1, the empty text is the marker alone.
        """
        y = np.zeros((len(texts), self.max_length, self.width), dtype=np.float32)
        mask = np.zeros((len(texts), self.max_length), dtype=np.int64)
        for row, text in enumerate(texts):
            tokens = [*words(text)[: self.max_length - 1], END]
            y[row, : len(tokens)] = [word_vector(token, self.width, self.seed) for token in tokens]
            if self.positions:
                y[row, : len(tokens)] += position_vectors(len(tokens), self.width)
            mask[row, : len(tokens)] = 1
        return {"y": torch.from_numpy(y).to(self.end_marker), "mask": torch.from_numpy(mask).to(self.end_marker.device)}

    def release(self) -> None:
        """There is nothing to give up."""


def words(text: str) -> list[str]:
    """Runs of letters and digits, lower-cased; everything else divides them. One spelling per accented letter."""
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text.lower()))


@lru_cache(maxsize=65536)
def word_vector(word: str, width: int, seed: int) -> NDArray[np.float32]:
    """The word's standard normal numbers, (D,), the same for ever: models depend on them as on weights.

    Hence RandomState, whose streams are frozen, where numpy's newer generators may change theirs.
    """
    number = address(seed, "word", word)
    vector = np.random.RandomState([number >> 32, number & 0xFFFFFFFF]).standard_normal(width).astype(np.float32)
    vector.flags.writeable = False
    return vector


def position_vectors(length: int, width: int) -> NDArray[np.float32]:
    """Sines and cosines of the place in the text, (N, D). Source: arXiv 1706.03762, section 3.5."""
    pair = np.arange(width) // 2
    angles = np.arange(length)[:, None] / 10000 ** (2 * pair / width)
    return np.where(np.arange(width) % 2 == 0, np.sin(angles), np.cos(angles)).astype(np.float32)


def build(options: HashedWordsOptions, context: Context) -> HashedWords:
    """The encoder. It does not use the run's seed: another run must be able to continue with the same vectors."""
    return HashedWords(
        width=options.width,
        max_length=options.model_max_length,
        positions=options.positions,
        seed=options.seed,
    )
