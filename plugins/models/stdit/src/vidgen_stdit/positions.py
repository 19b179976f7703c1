"""Positions in clips of any size: of tokens in a frame by a table made in every forward pass, of frames by rotation.

Letters: D width, E head width, S tokens of one frame, row by row, M of all clips, B clips.
"""

import math

import torch
from torch import Tensor, nn
from vidgen.attention import to_device
from vidgen_layers.packing import Places
from vidgen_layers.positions import Rotation, rotary_frequencies, rotation

ROTARY = "rope.freqs"
SPATIAL = "pos_embed.frequencies"


class FramePositions(nn.Module):
    """Tables of positions within a frame, which grow with the clip's size in pixels and not with its number of tokens.

    frequencies: (D / 4,). As in Open-Sora they are rounded with the model when that is moved to bfloat16.
    """

    frequencies: Tensor

    def __init__(self, width: int, square: int) -> None:
        """square: side in pixels of square clips whose neighbouring tokens are 1 apart."""
        super().__init__()
        self.square = square
        self.register_buffer("frequencies", torch.empty(width // 4), persistent=False)

    def forward(self, *, rows: int, columns: int, height: Tensor, width: Tensor) -> Tensor:
        """rows, columns: in tokens. height, width: (b,), in pixels; those of the first clip count. Returns (S, D), the
        half that tells the column first."""
        scale = (height[0].float() * width[0].float()).sqrt() / self.square
        base = round(math.sqrt(rows * columns))
        of_column = self._axis(columns, base / scale)[None].expand(rows, -1, -1)
        of_row = self._axis(rows, base / scale)[:, None].expand(-1, columns, -1)
        return torch.cat([of_column, of_row], dim=2).flatten(0, 1)

    def packed(self, places: Places, height: Tensor, width: Tensor) -> Tensor:
        """As `forward`, for each token of clips of different sizes, every clip by its own numbers. height, width: (B,),
        in pixels. Returns (M, D)."""
        scale = (height.float() * width.float()).sqrt() / self.square
        sizes = [(round(math.sqrt(rows * columns)), rows, columns) for _, rows, columns in places.grids]
        base, rows, columns = to_device(torch.tensor(sizes), scale.device).unbind(1)
        of_row, of_column = (
            self._sines(place * (base / scale / count)[places.clip])
            for place, count in ((places.row, rows), (places.column, columns))
        )
        return torch.cat([of_column, of_row], dim=1)

    def _axis(self, count: int, length: Tensor) -> Tensor:
        """Sines, then cosines, of `count` places that share `length`: (count, D / 2)."""
        return self._sines(torch.arange(count, device=self.frequencies.device) * (length / count))

    def _sines(self, places: Tensor) -> Tensor:
        """(N,) -> (N, D / 2)."""
        angles = places[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class RotaryPositions(nn.Module):
    """Rotations of frames. `freqs`, (E / 2,), is a parameter that is never trained: published state dicts have it."""

    def __init__(self, head_width: int) -> None:
        super().__init__()
        self.freqs = nn.Parameter(torch.empty(head_width // 2), requires_grad=False)

    def forward(self, frames: int) -> Rotation:
        """The rotation of frames 0 .. frames - 1, in patches."""
        return rotation(self.freqs, frames, self.freqs.dtype)


def rotary_start(weight: Tensor, generator: torch.Generator) -> None:
    """Fill `freqs`."""
    weight.copy_(rotary_frequencies(2 * len(weight)))


def spatial_frequencies(width: int) -> Tensor:
    """Of `FramePositions`: 10000^(-4 k / D), (D / 4,) float32."""
    return rotary_frequencies(width // 2)
