"""Frames of one size to frames of another, as `sizes.Fit` says, a few at a time so that memory stays bounded.

Source: Open-Sora-Plan v1.3, transform: bilinear with align_corners and antialias, on numbers in [0, 1]. Results are
rounded to 8 bits, as samples are.
"""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vidgen_opensora_plan_data.sizes import Box, Fit, Size

CHUNK = 4  # frames resized at a time


def apply(video: Tensor, fit: Fit) -> Tensor:
    """The fit of each frame of video (3, T, H, W) uint8: (3, T, *fit.after's size) uint8."""
    source = cut(video, fit.before)
    if source.shape[2:] == fit.resized:
        return cut(source, fit.after).contiguous()
    frames = source.shape[1]
    out = torch.empty((3, frames, fit.after.height, fit.after.width), dtype=torch.uint8)
    for first in range(0, frames, CHUNK):
        part = slice(first, first + CHUNK)
        resized = resize(source[:, part].transpose(0, 1).float() / 255, fit.resized)
        out[:, part] = (cut(resized, fit.after) * 255).round().to(torch.uint8).transpose(0, 1)
    return out


def resize(pictures: Tensor, size: Size) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] to `size` (rows, columns)."""
    return interpolate(pictures, size=size, mode="bilinear", align_corners=True, antialias=True).clamp_(0, 1)


def cut(pictures: Tensor, box: Box) -> Tensor:
    """A part of pictures (..., H, W), as a view."""
    return pictures[..., box.top : box.top + box.height, box.left : box.left + box.width]
