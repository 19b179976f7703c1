"""Doubling of rows and columns followed by a 3x3 convolution, with 4/9 of the multiplications.

Where every pixel stands four times, three taps of the kernel meet only two pixels along each axis. So the doubled
picture is never made: a 2x2 convolution with summed taps gives the four pixels that each one becomes. Equal but for
rounding. Source: arXiv 1609.07009, section 2 (a convolution after nearest-neighbour resizing is one of sub-pixels).
"""

import torch
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn import functional

WORTHWHILE = 256
"""Pixels (of all frames) from which on summing the taps pays."""


class DoublingConv(nn.Module):
    """Nearest-neighbour doubling, then `conv`, a 3x3 convolution with a padding of 1."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, O, 2H, 2W)."""
        rows, columns = x.shape[2:]
        if len(x) * rows * columns < WORTHWHILE:
            return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        bias = None if self.conv.bias is None else self.conv.bias.repeat(4)
        phases = functional.conv2d(x, _four_kernels(self.conv.weight), bias, padding=1).unflatten(1, (2, 2, -1))
        quarters = torch.stack(  # (B, O, H, 2, W, 2)
            [torch.stack([phases[:, i, j, :, i : i + rows, j : j + columns] for j in (0, 1)], dim=-1) for i in (0, 1)],
            dim=3,
        )
        return quarters.flatten(4, 5).flatten(2, 3)


def with_fast_doubling(network: nn.Module) -> None:
    """Put DoublingConv in the place of every such pair of diffusers in `network`; entries keep their names."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            conv = _doubled(child)
            if conv is not None:
                setattr(module, name, DoublingConv(conv))


def _doubled(layer: nn.Module) -> nn.Conv2d | None:
    """The convolution of a layer that does what DoublingConv does, and nothing else."""
    if not isinstance(layer, Upsample2D) or layer.norm is not None or not layer.interpolate or layer.name != "conv":
        return None
    conv = layer.conv
    if not isinstance(conv, nn.Conv2d) or (conv.kernel_size, conv.stride, conv.padding) != ((3, 3), (1, 1), (1, 1)):
        return None
    return conv


def _four_kernels(weight: Tensor) -> Tensor:
    """(O, C, 3, 3) -> (4 O, C, 2, 2): upper left, upper right, lower left, lower right."""
    by_row = _two_of_three(weight, dim=2)  # (2, O, C, 2, 3)
    return _two_of_three(by_row, dim=4).transpose(0, 1).flatten(0, 2)


def _two_of_three(weight: Tensor, dim: int) -> Tensor:
    """For the first and the second of a doubled pair of pixels: three taps as the two of single pixels."""
    before, at, after = weight.unbind(dim)
    return torch.stack([torch.stack([before, at + after], dim), torch.stack([before + at, after], dim)])
