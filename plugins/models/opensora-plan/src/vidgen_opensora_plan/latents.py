"""Latents to tokens and back: patches of one frame.

Letters: B clips, C channels, T H W latent frames/rows/columns, h w rows and columns in patches, N = T h w tokens,
D width.
"""

from einops import rearrange
from torch import Tensor, nn
from vidgen_layers.checks import Size3
from vidgen_layers.linear import linear
from vidgen_layers.patches import pad_to_patches


class FramePatches(nn.Module):
    """One linear map per patch, with the weight of a 2-D convolution, as published; applied as a matrix product."""

    def __init__(self, channels: int, side: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel_size=side, stride=side)

    def forward(self, patches: Tensor) -> Tensor:
        """(B, N, C p q), of `patched` -> (B, N, D)."""
        return linear(patches, self.proj.weight.flatten(1), self.proj.bias)


def patched(x: Tensor, side: int) -> Tensor:
    """(B, C, T, H, W) -> the latents of each patch, (B, N, C p q), frame by frame, row by row; with zeros behind rows
    and columns up to whole patches."""
    return rearrange(pad_to_patches(x, (1, side, side)), "b c t (h p) (w q) -> b (t h w) (c p q)", p=side, q=side)


def unpatched(tokens: Tensor, grid: Size3, side: int) -> Tensor:
    """tokens: (B, N, p q C), C fastest; grid: (T, h, w). Returns (B, C, T, H, W)."""
    _, h, w = grid
    return rearrange(tokens, "b (t h w) (p q c) -> b c t (h p) (w q)", h=h, w=w, p=side, q=side)


def any_of_patch(mask: Tensor, side: int) -> Tensor:
    """mask: (B, T, H, W), not 0 where a latent counts. Returns (B, N) bool, true where any of a token's does."""
    whole = pad_to_patches(mask[:, None].bool(), (1, side, side))
    return rearrange(whole, "b 1 t (h p) (w q) -> b (t h w) (p q)", p=side, q=side).any(-1)
