"""Layers of frames and of clips; the latter look at past frames only and remember them from chunk to chunk.

Letters: B clips, C channels, T H W frames/rows/columns, all of features. Every layer takes (B, C, T, H, W) and a chunk.
`ahead`: frames at the end of a chunk that is not the last one which the next chunk begins with, and which memory
therefore leaves out. Entries are named as published.
"""

from typing import Literal

import torch
from attrs import frozen
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from vidgen_autoencoders.upsample import DoublingConv

from vidgen_wfvae import GROUPS
from vidgen_wfvae.chunks import Chunk

EPS = 1e-6


class Chain(nn.ModuleList):
    """Layers one after the other."""

    def forward(self, x: Tensor, chunk: Chunk) -> Tensor:
        """(B, C, T, H, W) to whatever the last layer gives."""
        for layer in self:
            x = layer(x, chunk)
        return x


class CausalConv3d(nn.Module):
    """A convolution over frames up to the present one; before a clip stands its first frame, again and again.

    padding: zeros around every frame.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, padding: int | None = None, ahead: int = 0
    ) -> None:
        super().__init__()
        around = kernel // 2 if padding is None else padding
        self.front, self.ahead = kernel - 1, ahead
        self.kept = (kernel - 1) // stride
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride=stride, padding=(0, around, around))

    def forward(self, x: Tensor, chunk: Chunk) -> Tensor:
        """(B, C, T, H, W) -> (B, outputs, (T + 1) // 2 of stride 2, ...)."""
        return self.conv(self.continued(x, chunk))

    def continued(self, x: Tensor, chunk: Chunk) -> Tensor:
        """x with the frames before it, of which the last ones are remembered: what `conv` takes."""
        if not self.front:
            return x
        before = x[:, :, :1].expand(-1, -1, self.front, -1, -1) if chunk.first else chunk.memory[self]
        x = torch.cat([before, x], dim=2)
        end = x.shape[2] - self.ahead
        chunk.remember(self, x[:, :, end - self.kept : end])
        return x


class FrameConv(nn.Conv2d):
    """A 3x3 convolution of every frame."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, chunk: Chunk | None = None) -> Tensor:
        """(B, C, T, H, W) -> (B, outputs, T, H, W). chunk: does not matter."""
        made = super().forward(rearrange(x, "b c t h w -> (b t) c h w"))
        return rearrange(made, "(b t) c h w -> b c t h w", b=len(x))


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each position."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> the same."""
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


@frozen(kw_only=True)
class Kind:
    """What residual blocks have in common; see `vidgen_wfvae.NetworkOptions`."""

    norm_type: Literal["groupnorm", "layernorm"]
    dropout: float

    def norm(self, width: int) -> nn.Module:
        """Of (B, width, ...)."""
        return nn.GroupNorm(GROUPS, width, eps=EPS) if self.norm_type == "groupnorm" else ChannelNorm(width)


class ResBlock(nn.Module):
    """Twice norm, activation and causal convolution, plus the input."""

    def __init__(self, inputs: int, outputs: int, kind: Kind, *, ahead: int = 0) -> None:
        super().__init__()
        self.norm1 = kind.norm(inputs)
        self.conv1 = CausalConv3d(inputs, outputs, ahead=ahead)
        self.norm2 = kind.norm(outputs)
        self.dropout = nn.Dropout(kind.dropout)
        self.conv2 = CausalConv3d(outputs, outputs, ahead=ahead)
        self.nin_shortcut = None if inputs == outputs else CausalConv3d(inputs, outputs, kernel=1)

    def forward(self, x: Tensor, chunk: Chunk) -> Tensor:
        """(B, C, T, H, W) -> (B, outputs, T, H, W). In steps, so that nothing outlives its use: this is where memory
        peaks."""
        h = functional.silu(self.norm1(x))
        h = self.conv1.continued(h, chunk)
        h = self.conv1.conv(h)
        h = self.norm2(h)
        h = self.dropout(functional.silu(h))
        h = self.conv2.continued(h, chunk)
        h = self.conv2.conv(h)
        return h + (x if self.nin_shortcut is None else self.nin_shortcut(x, chunk))


class FrameResBlock(nn.Module):
    """The same of every frame: 3x3 convolutions, statistics of a frame."""

    def __init__(self, width: int, kind: Kind) -> None:
        super().__init__()
        self.norm1, self.norm2 = kind.norm(width), kind.norm(width)
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.dropout = nn.Dropout(kind.dropout)

    def forward(self, x: Tensor, chunk: Chunk) -> Tensor:
        """(B, C, T, H, W) -> the same. chunk: does not matter."""
        frames = rearrange(x, "b c t h w -> (b t) c h w")
        h = functional.silu(self.norm1(frames))
        h = self.conv1(h)
        h = self.norm2(h)
        h = self.dropout(functional.silu(h))
        h = self.conv2(h)
        return rearrange(frames + h, "(b t) c h w -> b c t h w", b=len(x))


class FrameAttention(nn.Module):
    """Every position of a frame looks at all of that frame, with one head; plus the input."""

    def __init__(self, width: int, kind: Kind) -> None:
        super().__init__()
        self.norm = kind.norm(width)
        self.q, self.k, self.v, self.proj_out = (CausalConv3d(width, width, kernel=1) for _ in range(4))

    def forward(self, x: Tensor, chunk: Chunk) -> Tensor:
        """(B, C, T, H, W) -> the same."""
        h = self.norm(x)
        q, k, v = (
            rearrange(layer(h, chunk), "b c t h w -> (b t) 1 (h w) c").contiguous()
            for layer in (self.q, self.k, self.v)
        )
        seen = functional.scaled_dot_product_attention(q, k, v)
        frames = rearrange(seen, "(b t) 1 (h w) c -> b c t h w", b=len(x), h=x.shape[3])
        return x + self.proj_out(frames, chunk)


class FrameHalving(nn.Module):
    """Half the rows and columns: one of zeros to the right and one below, then 3x3 with a stride of 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor, chunk: Chunk) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H // 2, W // 2). chunk: does not matter."""
        made = self.conv(functional.pad(rearrange(x, "b c t h w -> (b t) c h w"), (0, 1, 0, 1)))
        return rearrange(made, "(b t) c h w -> b c t h w", b=len(x))


class Halving(nn.Module):
    """Half the frames as well, of a clip the first one alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(width, width, stride=2, padding=0)

    def forward(self, x: Tensor, chunk: Chunk) -> Tensor:
        """(B, C, T, H, W) -> (B, C, (T + 1) // 2, H // 2, W // 2)."""
        return self.conv(functional.pad(x, (0, 1, 0, 1)), chunk)


class FrameDoubling(DoublingConv):
    """Twice the rows and columns, each value standing four times, then a 3x3 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor, chunk: Chunk | None = None) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, 2H, 2W). chunk: does not matter."""
        made = super().forward(rearrange(x, "b c t h w -> (b t) c h w"))
        return rearrange(made, "(b t) c h w -> b c t h w", b=len(x))


class Doubling(nn.Module):
    """Twice the frames, but for the clip's first one, and twice the rows and columns; then a causal convolution.

    Frames are interpolated between those after the first. So that every one sees its neighbours, a chunk looks `ahead`
    and remembers the last frame that is its own. Of the first chunk that is the first interpolated one, number 1.
    """

    def __init__(self, width: int, t_interpolation: Literal["nearest", "trilinear"], *, ahead: int = 0) -> None:
        super().__init__()
        self.t_interpolation, self.ahead = t_interpolation, ahead
        self.conv = CausalConv3d(width, width, ahead=2 * ahead)

    def forward(self, x: Tensor, chunk: Chunk) -> Tensor:
        """(B, C, T, H, W) -> (B, C, 2T - 1 in the first chunk and else 2T, 2H, 2W)."""
        own = 2 if chunk.first else x.shape[2] - self.ahead
        frames = self._start(x) if chunk.first else self._next(x, chunk.memory[self])
        chunk.remember(self, x[:, :, own - 1 : own])
        doubled = functional.interpolate(frames, scale_factor=(1.0, 2.0, 2.0), mode="trilinear", align_corners=False)
        return self.conv(doubled, chunk)

    def _start(self, x: Tensor) -> Tensor:
        return x if x.shape[2] == 1 else torch.cat([x[:, :, :1], self._doubled(x[:, :, 1:])], dim=2)

    def _next(self, x: Tensor, before: Tensor) -> Tensor:
        return self._doubled(torch.cat([before, x], dim=2))[:, :, 2:]

    def _doubled(self, x: Tensor) -> Tensor:
        smooth = self.t_interpolation == "trilinear"
        return functional.interpolate(
            x, scale_factor=(2.0, 1.0, 1.0), mode=self.t_interpolation, align_corners=False if smooth else None
        )
