"""Haar wavelets of frames and of clips: every block of 2x2 or 2x2x2 values to as many bands, and back. Never learned.

Letters: B clips, C channels, T H W frames/rows/columns. Bands lie along the channels, each with all C of them.
The sums are one multiplication with an 8 x 8 or 4 x 4 matrix, measured faster than grouped convolutions and than adding
strided slices (see docs/autoencoders.md). Source: arXiv 2411.17459, section 3.1.
"""

from itertools import product

import torch
from einops import rearrange
from torch import Tensor, nn

from vidgen_wfvae.chunks import Chunk

OF_FRAMES, OF_CLIPS = 0.5, 0.3536
"""Coefficients as published, the second one rounded to four digits from 1 / sqrt(8)."""
FRAME_BANDS = ("aa", "ad", "da", "dd")
CLIP_BANDS = ("h", "g", "hh", "gh", "h_v", "g_v", "hh_v", "gh_v")
"""Names of the filters in published files, in the order of the bands."""


def frame_filters() -> Tensor:
    """(bands, 2, 2), rows before columns: low low, high low, low high, high high."""
    filters = _filters(2).reshape(2, 2, 2, 2) * OF_FRAMES
    return filters.transpose(0, 1).reshape(4, 2, 2)


def clip_filters() -> Tensor:
    """(bands, 2, 2, 2), frames before rows before columns: low before high, the last axis changing fastest."""
    return _filters(3).reshape(8, 2, 2, 2) * OF_CLIPS


def _filters(axes: int) -> Tensor:
    """(bands, taps), both counted with the last axis changing fastest: -1 where an odd number of axes is high at its
    second tap."""
    points = list(product((0, 1), repeat=axes))
    signs = [[(-1.0) ** sum(map(int.__mul__, band, tap)) for tap in points] for band in points]
    return torch.tensor(signs, device="cpu")


def filter_named(entry: str) -> Tensor | None:
    """The values of an entry of a state dict, of its shape but for axes of length 1; None where it is no filter."""
    owner, _, leaf = entry.removesuffix("_conv.conv.weight").rpartition(".")
    if "wavelet_tranform" not in owner:
        return None
    bands = {
        **dict(zip(FRAME_BANDS, frame_filters(), strict=True)),
        **dict(zip(CLIP_BANDS, clip_filters(), strict=True)),
    }
    return bands[leaf]


class Filters(nn.Module):
    """Filters under their published names, as buffers. names: in the order of the bands."""

    def __init__(self, names: tuple[str, ...], filters: Tensor) -> None:
        super().__init__()
        self.names = names
        for name, one in zip(names, filters, strict=True):
            self.register_buffer(name, one[None, None].to(torch.get_default_device()))

    def matrix(self) -> Tensor:
        """(bands, taps)."""
        return torch.stack([self.get_buffer(name).flatten() for name in self.names])


class FrameWavelet(Filters):
    """Of every frame: (B, C, T, H, W) -> (B, 4C, T, H // 2, W // 2)."""

    def __init__(self) -> None:
        super().__init__(FRAME_BANDS, frame_filters())

    def forward(self, x: Tensor, chunk: Chunk) -> Tensor:
        """chunk: does not matter."""
        rows, columns = x.shape[3] // 2 * 2, x.shape[4] // 2 * 2
        blocks = rearrange(x[..., :rows, :columns], "b c t (h y) (w x) -> b (y x) c t h w", y=2, x=2)
        return _mixed(self.matrix(), blocks)


class InverseFrameWavelet(Filters):
    """(B, 4C, T, H, W) -> (B, C, T, 2H, 2W)."""

    def __init__(self) -> None:
        super().__init__(FRAME_BANDS, frame_filters())

    def forward(self, x: Tensor, chunk: Chunk) -> Tensor:
        """chunk: does not matter."""
        blocks = _mixed(self.matrix().T, x.unflatten(1, (4, -1)))
        return rearrange(blocks, "b (y x c) t h w -> b c t (h y) (w x)", y=2, x=2)


class ClipWavelet(nn.Module):
    """Of pairs of frames, the first one of a clip paired with itself: (B, C, T, H, W) -> (B, 8C, (T + 1) // 2, H // 2,
    W // 2). Published files keep the filters as weights of convolutions."""

    def __init__(self) -> None:
        super().__init__()
        for name, one in zip(CLIP_BANDS, clip_filters(), strict=True):
            holder = nn.Module()
            holder.conv = nn.Module()
            weight = one[None, None].to(torch.get_default_device())
            holder.conv.weight = nn.Parameter(weight, requires_grad=False)
            self.add_module(f"{name}_conv", holder)

    def forward(self, x: Tensor, chunk: Chunk) -> Tensor:
        """chunk: after the first one of a clip, frames are paired from its first on."""
        x = torch.cat([x[:, :, :1], x], dim=2) if chunk.first else x
        frames, rows, columns = (length // 2 * 2 for length in x.shape[2:])
        cut = x[:, :, :frames, :rows, :columns]
        blocks = rearrange(cut, "b c (t z) (h y) (w x) -> b (z y x) c t h w", z=2, y=2, x=2)
        return _mixed(self._matrix(), blocks)

    def _matrix(self) -> Tensor:
        return torch.stack([weight.flatten() for weight in self.parameters()])


class InverseClipWavelet(Filters):
    """(B, 8C, T, H, W) -> (B, C, 2T - 1, 2H, 2W): the frame that the clip's first one was paired with is dropped."""

    def __init__(self) -> None:
        super().__init__(CLIP_BANDS, clip_filters())

    def forward(self, x: Tensor, chunk: Chunk) -> Tensor:
        """chunk: after the first one of a clip, all 2T frames are kept."""
        blocks = _mixed(self.matrix().T, x.unflatten(1, (8, -1)))
        clip = rearrange(blocks, "b (z y x c) t h w -> b c (t z) (h y) (w x)", z=2, y=2, x=2)
        return clip[:, :, 1:] if chunk.first else clip


def _mixed(matrix: Tensor, parts: Tensor) -> Tensor:
    """(N, M) and (B, M, C, T, H, W) -> (B, N C, T, H, W)."""
    made = matrix.to(parts) @ parts.flatten(2)
    return made.unflatten(2, parts.shape[2:]).flatten(1, 2)
