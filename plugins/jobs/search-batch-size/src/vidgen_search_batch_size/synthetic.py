"""Made-up clips and captions: of the sizes that training meets, and as slow as real ones. Nothing is read from disk."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from attrs import frozen
from vidgen import Component, Selection, UserError
from vidgen.engine.batch import Batch, Group, Position
from vidgen.engine.features import Features
from vidgen.engine.parts import Parts, tokens
from vidgen.interfaces import Context, Sample, Size3
from vidgen.rng import torch_generator

FPS = 24.0
WORD = "moving "
"""Captions are as long as the text encoder takes them: of these words, each of one token or more."""


@frozen(kw_only=True)
class NoOptions:
    """No keys beside `type:`."""


class EmptyRows:
    """A dataset that is never asked for a sample; see `vidgen.interfaces.Dataset`."""

    def __init__(self) -> None:
        self.table = pa.table({"path": ["synthetic"]})

    def get(self, row: int, num_frames: int, size: tuple[int, int], rng: np.random.Generator) -> Sample:
        """Never called: batches are made here, not read."""
        raise AssertionError("the dataset of a search is not read")

    def identity(self, row: int) -> str:
        """See `vidgen.interfaces.Dataset`."""
        return f"synthetic {row}"


def build_dataset(options: NoOptions, context: Context) -> EmptyRows:
    """The dataset."""
    return EmptyRows()


def no_dataset() -> Selection:
    """In the place of a recipe's dataset: rows that nobody reads."""
    component = Component(
        name="synthetic",
        summary="Rows that nobody reads.",
        options=NoOptions,
        factory="vidgen_search_batch_size.synthetic:build_dataset",
    )
    return Selection("dataset", component, NoOptions())


class Batches:
    """Makes batches of any size.

    kept: whether latents and text features come ready, as they do when features are read from a cache; else the
    encoders have their part in a step.
    """

    def __init__(self, parts: Parts, *, seed: int, kept: bool) -> None:
        self._parts, self._seed = parts, seed
        self._caption = _caption(parts.text_encoder)
        self._text = self._encoded() if kept else None

    def make(self, size: Size3, count: int) -> Batch:
        """size: (frames, rows, columns) in pixels of every clip. count: of clips."""
        places = tuple(range(count))
        return Batch(
            groups=() if self._text is not None else (Group(places, self._video(size, count)),),
            sizes=(size,) * count,
            texts=[self._caption] * count,
            fps=torch.full((count,), FPS),
            rows=places,
            epoch=0,
            following=Position(),
            features={} if self._text is None else dict.fromkeys(places, self._features(size, self._text)),
        )

    def _video(self, size: Size3, count: int) -> torch.Tensor:
        generator = torch_generator(self._seed, "synthetic clips")
        return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator)

    def _features(self, size: Size3, text: dict[str, torch.Tensor]) -> Features:
        vae = self._parts.vae
        generator = torch_generator(self._seed, "synthetic latents")
        latents = torch.randn(vae.latent_channels, *vae.latent_size(size), generator=generator)
        return Features(latents, text, self._caption, FPS)

    @torch.no_grad()
    def _encoded(self) -> dict[str, torch.Tensor]:
        encoder = self._parts.text_encoder
        with self._parts.parallel.autocast():
            text = {name: value[0].cpu() for name, value in encoder.encode([self._caption]).items()}
        encoder.release()
        return text


def _caption(encoder: Any) -> str:
    """Something that the encoder takes, and as much as it takes."""
    return "0" if encoder.width == 0 else WORD * encoder.max_length


def largest(parts: Parts, sizes: list[Size3]) -> tuple[Size3, int]:
    """The clip of which the model makes the most tokens, and how many. Raises: UserError, when the autoencoder cannot
    take one of them."""
    return max(_counted(parts, sizes), key=lambda one: (one[1], one[0]))


def _counted(parts: Parts, sizes: list[Size3]) -> Iterator[tuple[Size3, int]]:
    for size in sizes:
        try:
            yield size, tokens(parts, size)
        except UserError as error:
            frames, rows, columns = size
            raise UserError(
                f"search.bucket_config: a bucket has clips of {frames}x{rows}x{columns}. {error}"
            ) from error
