"""Frames of one size to frames of another, as `sizes.Fit` says, one at a time: no more than one is there in floats.

Source: Open-Sora-Plan v1.3, transform: bilinear with align_corners and antialias, on numbers in [0, 1]. Results are
rounded to 8 bits, as samples are.
"""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vidgen_opensora_plan_data.sizes import Box, Fit, Size


def apply(video: Tensor, fit: Fit) -> Tensor:
    """The fit of each frame of video (3, T, H, W) uint8: (3, T, *fit.after's size) uint8."""
    source = cut(video, fit.before)
    if source.shape[2:] == fit.resized:
        return cut(source, fit.after).contiguous()
    out = torch.empty((3, source.shape[1], fit.after.height, fit.after.width), dtype=torch.uint8)
    for number, frame in enumerate(source.unbind(1)):
        resized = cut(resize(frame.float().div_(255)[None], fit.resized)[0], fit.after)
        out[:, number] = resized.mul(255).round_()
    return out


def resize(pictures: Tensor, size: Size) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] to `size` (rows, columns)."""
    return interpolate(pictures, size=size, mode="bilinear", align_corners=True, antialias=True).clamp_(0, 1)


def cut(pictures: Tensor, box: Box) -> Tensor:
    """A part of pictures (..., H, W), as a view."""
    return pictures[..., box.top : box.top + box.height, box.left : box.left + box.width]
