"""Clips of different sizes as one list of tokens: clip by clip, frame by frame, row by row.

Letters: B clips, M tokens of all clips, T H W latent frames/rows/columns, t h w the same counted in patches, D width,
R vectors.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from attrs import evolve, frozen
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from vidgen import UserError
from vidgen.attention import Segments, segments, to_device
from vidgen.mesh import TokenGroup

from vidgen_layers.patches import Size3, token_grid


@frozen(kw_only=True, eq=False)
class Places:
    """Where every token comes from. grids: patches along time, rows and columns of each clip, on the host.

    clip, frame, row, column: (M,) int64. place: (M,), in the flattened (B, t, S) patches of the padded batch. by_frame:
    (M,), the tokens in an order in which the frames of one position follow each other; back: (M,), where each token is
    in that order.
    """

    grids: tuple[Size3, ...]
    clip: Tensor
    frame: Tensor
    row: Tensor
    column: Tensor
    place: Tensor
    by_frame: Tensor
    back: Tensor

    def part(self, tokens: TokenGroup) -> "Places":
        """As it is for this rank's tokens; the last ranks have the last token several times where they are fewer.
        `grids` and the orders stay those of all."""
        mine = to_device(torch.from_numpy(self._held(tokens)), self.clip.device)
        names = ("clip", "frame", "row", "column", "place")
        return evolve(self, **{name: getattr(self, name)[mine] for name in names})

    def clips_of(self, tokens: TokenGroup) -> tuple[int, list[int]]:
        """The first clip of which this rank has tokens, and how many it has of that and of each that follows."""
        ends = np.cumsum([prod(grid) for grid in self.grids])
        clips = np.searchsorted(ends, self._held(tokens), side="right")
        return int(clips[0]), np.bincount(clips - clips[0]).tolist()

    def _held(self, tokens: TokenGroup) -> NDArray[np.int64]:
        count = sum(prod(grid) for grid in self.grids)
        part = tokens.part(count)
        return np.arange(tokens.rank * part, (tokens.rank + 1) * part).clip(max=count - 1)

    def within_frames(self) -> Segments:
        """A sequence for each frame."""
        lengths = [(frames, rows * columns) for frames, rows, columns in self.grids]
        return segments([(count, length, length) for count, length in lengths], self.clip.device)

    def across_frames(self) -> Segments:
        """A sequence for each position of a clip, in the order `by_frame`."""
        lengths = [(rows * columns, frames) for frames, rows, columns in self.grids]
        return segments([(count, length, length) for count, length in lengths], self.clip.device)

    def to_captions(self, tokens: int, mask: Tensor | None) -> Segments:
        """A sequence for each clip, with the `tokens` of its caption as keys. mask: (B, tokens), see `segments`."""
        lengths = [(1, frames * rows * columns, tokens) for frames, rows, columns in self.grids]
        return segments(lengths, self.clip.device, mask)


def places(valid: Tensor, patch: Size3, device: torch.device) -> Places:
    """valid: (B, T, H, W) bool, true where a latent is no padding; wanted on the CPU, elsewhere it is waited for. A
    clip's last patch along an axis may be partly padding. device: for the result. Raises: UserError, when what is valid
    of a clip is no box at the origin."""
    grids = tuple(token_grid(size, patch) for size in _clip_sizes(valid))
    frames, rows, columns = token_grid((valid.shape[1], valid.shape[2], valid.shape[3]), patch)
    numbers, orders, begun = [], [], 0
    for clip, grid in enumerate(grids):
        t, h, w = np.indices(grid).reshape(3, -1)
        numbers.append(np.stack([np.full_like(t, clip), t, h, w, ((clip * frames + t) * rows + h) * columns + w]))
        tokens = np.arange(begun, begun + len(t)).reshape(grid[0], -1)
        ahead = np.arange(begun, begun + len(t)).reshape(-1, grid[0])
        orders.append(np.stack([tokens.T.ravel(), ahead.T.ravel()]))
        begun += len(t)
    table = np.concatenate([np.concatenate(numbers, axis=1), np.concatenate(orders, axis=1)])
    names = ("clip", "frame", "row", "column", "place", "by_frame", "back")
    return Places(grids=grids, **dict(zip(names, to_device(torch.from_numpy(table), device).unbind(0), strict=True)))


def spread(vectors: Tensor, index: Tensor) -> Tensor:
    """vectors: (R, D), few; index: (M,). Returns each token's, (M, D)."""
    return _Spread.apply(vectors, index)


def reorder(h: Tensor, order: Tensor, back: Tensor) -> Tensor:
    """h: (M, ...). order: (M,), a permutation; back: (M,), its inverse. Returns h[order]."""
    return _Reorder.apply(h, order, back)


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.count = len(vectors)
        return vectors.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        """Sums as a matrix product: indexed additions are slow, and on a GPU come in another order each time."""
        (index,) = ctx.saved_tensors
        own = torch.arange(ctx.count, device=index.device)[:, None] == index
        return own.to(slope.dtype) @ slope, None


class _Reorder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, order: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return h.index_select(0, order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        (back,) = ctx.saved_tensors
        return slope.index_select(0, back), None, None


def _clip_sizes(valid: Tensor) -> Sequence[Size3]:
    filled = valid.cpu().numpy()
    spans = [filled.any(axis=others) for others in ((2, 3), (1, 3), (1, 2))]
    sizes: list[Size3] = [(int(t), int(h), int(w)) for t, h, w in zip(*(span.sum(1) for span in spans), strict=True)]
    for clip, size in enumerate(sizes):
        if not min(size) or filled[clip].sum() != np.prod(size) or not filled[clip][tuple(map(slice, size))].all():
            raise UserError(
                f"the model got a `valid` that is no box at the origin for clip {clip}: it has to be true in the first "
                "frames, rows and columns of each clip, one or more of each, and false behind them"
            )
    return sizes
