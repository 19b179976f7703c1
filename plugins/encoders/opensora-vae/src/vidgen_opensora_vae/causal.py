"""Layers that look at past frames only.

Letters: B clips, C channels, T H W frames/rows/columns (here of latents of an image autoencoder).
"""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

Size3 = tuple[int, int, int]
Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {"swish": functional.silu, "relu": functional.relu}
SMALL = 20480
"""Size of all axes but the last up to which torch's own choice is the slow one."""


class CausalConv3d(nn.Module):
    """A convolution whose output frame t depends on input frames up to stride * t + stride - 1.

    Zeros stand before the first frame and around every frame. kernel: (frames, rows, columns). stride: in time.
    Source: arXiv 2310.05737, section 3.1.
    """

    def __init__(self, inputs: int, outputs: int, kernel: Size3, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.front = kernel[0] - stride  # zero frames
        around = (0, kernel[1] // 2, kernel[2] // 2)  # left to the convolution, which copies nothing for it
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride=(stride, 1, 1), padding=around, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, outputs, T / stride, H, W)."""
        padded = functional.pad(x, (0, 0, 0, 0, self.front, 0)) if self.front else x
        return self._by_frames(padded) if _is_small(padded) else self.conv(padded)

    def _by_frames(self, x: Tensor) -> Tensor:
        """The same as a convolution in space alone, over the channels of all frames that meet."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        end = x.shape[2] - kernel + 1
        meeting = torch.cat([x[:, :, first : first + end : stride] for first in range(kernel)], dim=1)
        frames = rearrange(meeting, "b c t h w -> (b t) c h w")
        weight = rearrange(self.conv.weight, "o c k h w -> o (k c) h w")
        made = functional.conv2d(frames, weight, self.conv.bias, padding=self.conv.padding[1:])
        return rearrange(made, "(b t) c h w -> b c t h w", b=len(x))


def _is_small(x: Tensor) -> bool:
    """Where torch on one thread does a convolution over three axes without oneDNN, at two to four times the cost."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and x[..., 0].numel() <= SMALL


class ResBlock(nn.Module):
    """Twice norm, activation and convolution, plus the input. Statistics of a norm are over all frames of a clip."""

    def __init__(self, inputs: int, outputs: int, groups: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.norm1 = nn.GroupNorm(groups, inputs)
        self.conv1 = CausalConv3d(inputs, outputs, (3, 3, 3), bias=False)
        self.norm2 = nn.GroupNorm(groups, outputs)
        self.conv2 = CausalConv3d(outputs, outputs, (3, 3, 3), bias=False)
        same = inputs == outputs
        self.conv3 = nn.Identity() if same else CausalConv3d(inputs, outputs, (1, 1, 1), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, outputs, T, H, W)."""
        h = self.conv1(self.activation(self.norm1(x)))
        return self.conv2(self.activation(self.norm2(h))) + self.conv3(x)
