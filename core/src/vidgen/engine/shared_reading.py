"""Reading and encoding by ranks that share the tokens of each sample: every rank does so with its share of the batches,
and all get what comes of all, as Open-Sora-Plan's `train_sp_batch_size` has it.

Batches are those of one rank alone, in the same order: what is drawn for a batch is addressed, whoever draws it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from attrs import evolve
from torch import Tensor

from vidgen.engine.batch import Ask, Batch, Position
from vidgen.engine.encoding import Encoding
from vidgen.engine.features import Features
from vidgen.engine.showing import Showing
from vidgen.mesh import TokenGroup
from vidgen.rng import Draws

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
DTYPES = {str(dtype): dtype for dtype in (*FLOATS, torch.int64, torch.int32, torch.uint8, torch.bool)}


class ShareOfAsks:
    """Those of `asks` that a rank of the group reads; can be gone through again, as `asks` can."""

    def __init__(self, asks: Iterable[list[Ask]], tokens: TokenGroup) -> None:
        self._asks, self._tokens = asks, tokens

    def __iter__(self) -> Iterator[list[Ask]]:
        return islice(self._asks, self._tokens.rank, None, self._tokens.size)


class SharedReading:
    """Batches of which all is known, without their pixels. batches: this rank's share, see `ShareOfAsks`."""

    def __init__(
        self, batches: Iterable[Batch], encoding: Encoding, showing: Showing, tokens: TokenGroup, device: torch.device
    ) -> None:
        self._batches, self._encoding, self._showing = batches, encoding, showing
        self._tokens, self._device = tokens, device

    def __iter__(self) -> Iterator[Batch]:
        """All ranks of the group go through it alike. The features of as many batches as there are ranks are there at a
        time. Raises: what reading does, on the rank that reads."""
        own = iter(self._batches)
        while True:
            batch = next(own, None)
            found = self._exchanged(None if batch is None else self._known(batch))
            yield from found
            if len(found) < self._tokens.size:
                return

    def _known(self, batch: Batch) -> Batch:
        draws = Draws(self._encoding.seed, [(batch.epoch, row) for row in batch.rows])
        return evolve(self._encoding.known(batch), shown=self._showing(batch, draws))

    def _exchanged(self, own: Batch | None) -> list[Batch]:
        """Batches of all ranks, in order; at the end of the data the last ranks may have none."""
        tensors = {} if own is None else _tensors(own)
        about = [json.loads(text) for text in self._tokens.texts(json.dumps(own and _described(own, tensors)))]
        return [_restored(one, self._received(one["tensors"], tensors, rank)) for rank, one in enumerate(about) if one]

    def _received(self, about: Mapping[str, Any], own: Mapping[str, Tensor], source: int) -> dict[str, Tensor]:
        """What rank `source` has. own: what this one has."""
        mine = source == self._tokens.rank
        return {
            name: self._tokens.broadcast(
                own[name].to(self._device).contiguous()
                if mine
                else torch.empty(shape, dtype=DTYPES[dtype], device=self._device),
                source,
            )
            for name, (shape, dtype) in about.items()
        }


def _tensors(batch: Batch) -> dict[str, Tensor]:
    """Of a batch of which all is known, by names that `_restored` understands."""
    found = {f"shown/{name}": value for name, value in batch.shown.items()}
    for place, features in batch.features.items():
        found[f"latents/{place}"] = features.latents
        found |= {f"text/{place}/{name}": value for name, value in features.text.items()}
    return found


def _described(batch: Batch, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """As plain data, with the shapes of its tensors."""
    return {
        "sizes": batch.sizes,
        "texts": batch.texts,
        "fps": batch.fps.tolist(),
        "rows": batch.rows,
        "epoch": batch.epoch,
        "following": (batch.following.epoch, batch.following.batch),
        "tensors": {name: (value.shape, str(value.dtype)) for name, value in tensors.items()},
    }


def _restored(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Batch:
    texts, fps = about["texts"], about["fps"]
    return Batch(
        groups=(),
        sizes=tuple((frames, rows, columns) for frames, rows, columns in about["sizes"]),
        texts=texts,
        fps=torch.tensor(fps, dtype=torch.float32),
        rows=tuple(about["rows"]),
        epoch=about["epoch"],
        following=Position(*about["following"]),
        features={
            place: Features(tensors[f"latents/{place}"], _under(tensors, f"text/{place}/"), texts[place], fps[place])
            for place in range(len(texts))
        },
        shown=_under(tensors, "shown/"),
    )


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
