"""Latent video to tokens and back.

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t h w the same counted in patches, D width.
"""

from collections.abc import Callable

from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import pad

from vidgen_layers.linear import linear

Size3 = tuple[int, int, int]


class PatchEmbed(nn.Module):
    """One linear map per patch. The weight has the shape of a convolution, as published checkpoints have it; patches do
    not overlap, so it is applied as a matrix product, which is faster than a convolution."""

    def __init__(self, *, channels: int, patch: Size3, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv3d(channels, width, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor, choose: Callable[[Tensor], Tensor] = lambda patches: patches) -> Tensor:
        """(B, C, T, H, W) -> (B, t, h w, D). choose: takes those patches (B, t, h w, C pt ph pw) that are wanted, and
        lays them as they are wanted: (..., C pt ph pw) -> (..., D)."""
        pt, ph, pw = self.patch
        patches = rearrange(x, "b c (t pt) (h ph) (w pw) -> b t (h w) (c pt ph pw)", pt=pt, ph=ph, pw=pw)
        return linear(choose(patches), self.proj.weight.flatten(1), self.proj.bias)


def token_grid(size: Size3, patch: Size3) -> Size3:
    """Patches along time, rows and columns; a last one may be partly padding."""
    frames, rows, columns = (-(-n // p) for n, p in zip(size, patch, strict=True))
    return frames, rows, columns


def pad_to_patches(x: Tensor, patch: Size3) -> Tensor:
    """(B, C, T, H, W), with zeros behind the last frame, row and column where a patch needs them."""
    lacking = [-n % p for n, p in zip(x.shape[2:], patch, strict=True)]
    return pad(x, (0, lacking[2], 0, lacking[1], 0, lacking[0])) if any(lacking) else x


def unpatch(tokens: Tensor, patch: Size3, rows: int) -> Tensor:
    """tokens: (B, t, h w, pt ph pw C), C fastest; rows: h. Returns (B, C, T, H, W)."""
    pt, ph, pw = patch
    return rearrange(tokens, "b t (h w) (pt ph pw c) -> b c (t pt) (h ph) (w pw)", h=rows, pt=pt, ph=ph, pw=pw)
