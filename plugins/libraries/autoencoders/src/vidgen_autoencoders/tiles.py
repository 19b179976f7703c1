"""Frames in overlapping tiles, blended where they meet: for frames too large for the memory.

An approximation: normalisation and attention see one tile instead of the whole frame. With a single tile it is exact.
Positions are counted in latents, so that a tile always holds whole ones.
"""

from collections.abc import Callable, Sequence

import torch
from attrs import frozen
from torch import Tensor
from vidgen.errors import UserError

Span = tuple[int, int]


@frozen(kw_only=True)
class Tiles:
    """size: side of a tile; overlap: how much of it a neighbour covers as well; both in latents."""

    size: int
    overlap: int

    def spans(self, length: int) -> list[Span]:
        """First and last + 1 of each tile along an axis; the last one ends with the axis."""
        if length <= self.size:
            return [(0, length)]
        starts = [*range(0, length - self.size, self.size - self.overlap), length - self.size]
        return [(start, start + self.size) for start in starts]


def tiles_for(tile_size: int | None, tile_overlap: float, stride: int) -> Tiles | None:
    """tile_size: in pixels; tile_overlap: a share of it; stride: pixels per latent. Raises: UserError, when no whole
    number of latents fits."""
    if tile_size is None:
        return None
    if tile_size % stride:
        below = tile_size // stride * stride
        nearest = f"{below} or {below + stride}" if below else str(stride)
        raise UserError(
            f"tile_size is {tile_size} pixels, but one latent stands for {stride}x{stride} of them: it has to be a "
            f"multiple of {stride}, such as {nearest}."
        )
    size = tile_size // stride
    return Tiles(size=size, overlap=min(round(size * tile_overlap), size - 1))


def encode_tiled(encode: Callable[[Tensor], Tensor], frames: Tensor, tiles: Tiles | None, stride: int) -> Tensor:
    """encode: frames (B, 3, H, W) to (B, C, H // stride, W // stride), of any size. Pixels that fill no latent go to
    the last tile, which does with them what the whole would."""
    rows, columns = frames.shape[2] // stride, frames.shape[3] // stride
    if tiles is None or max(rows, columns) <= tiles.size:
        return encode(frames)
    return _blended(
        lambda r, c: encode(frames[..., _pixels(r, rows, stride), _pixels(c, columns, stride)]),
        tiles.spans(rows),
        tiles.spans(columns),
        scale=1,
    )


def decode_tiled(decode: Callable[[Tensor], Tensor], latents: Tensor, tiles: Tiles | None, stride: int) -> Tensor:
    """decode: latents (..., H, W) to (..., stride * H, stride * W), of any size."""
    rows, columns = latents.shape[-2:]
    if tiles is None or max(rows, columns) <= tiles.size:
        return decode(latents)
    return _blended(
        lambda r, c: decode(latents[..., slice(*r), slice(*c)]), tiles.spans(rows), tiles.spans(columns), scale=stride
    )


def _pixels(span: Span, length: int, stride: int) -> slice:
    start, stop = span
    return slice(start * stride, None if stop == length else stop * stride)


def _blended(make: Callable[[Span, Span], Tensor], rows: Sequence[Span], columns: Sequence[Span], scale: int) -> Tensor:
    """Tiles by their spans, `scale` times as large in what `make` returns, each weighted so that all add up to 1."""
    high, wide = rows[-1][1] * scale, columns[-1][1] * scale
    whole: Tensor | None = None
    for row, down in zip(rows, _weights(rows, scale), strict=True):
        for column, across in zip(columns, _weights(columns, scale), strict=True):
            tile = make(row, column)
            whole = tile.new_zeros(*tile.shape[:-2], high, wide) if whole is None else whole
            weight = (down[:, None] * across).to(tile)
            whole[..., row[0] * scale : row[1] * scale, column[0] * scale : column[1] * scale] += weight * tile
    assert whole is not None
    return whole


def _weights(spans: Sequence[Span], scale: int) -> list[Tensor]:
    """Of each tile along its axis: 1 where it is alone, falling in a straight line where it meets another."""
    length = spans[-1][1] * scale
    raw = []
    for start, stop in spans:
        at = torch.arange(start * scale, stop * scale, dtype=torch.float64, device="cpu") + 0.5
        to_edges = [at - start * scale] * (start > 0) + [stop * scale - at] * (stop * scale < length)
        raw.append(torch.stack(to_edges).amin(dim=0) if to_edges else torch.ones_like(at))
    total = torch.zeros(length, dtype=torch.float64, device="cpu")
    for (start, stop), weight in zip(spans, raw, strict=True):
        total[start * scale : stop * scale] += weight
    return [w / total[start * scale : stop * scale] for (start, stop), w in zip(spans, raw, strict=True)]
