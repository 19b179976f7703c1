"""Patch discriminators: is this patch real or reconstructed? (arXiv 1611.07004, section 3.2.2)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

LARGEST_FACTOR = 8  # of ndf, the width of the last layers
SLOPE = 0.2


class _Float32:
    """A batch norm with weights in float32, like its statistics, also where an engine hands them out in fewer bits."""

    def forward(self: Any, input: Tensor) -> Tensor:
        if self.training:
            self.num_batches_tracked.add_(1)
        weight, bias = self.weight.float(), self.bias.float()
        return batch_norm(
            input, self.running_mean, self.running_var, weight, bias, self.training, self.momentum, self.eps
        )


class Norm2d(_Float32, nn.BatchNorm2d):
    """For pictures."""


class Norm3d(_Float32, nn.BatchNorm3d):
    """For clips."""


class NLayerDiscriminator(nn.Module):
    """For pictures: (N, input_nc, H, W) in [-1, 1] to logits (N, 1, h, w), one per patch, above 0 for real.

    ndf: channels of the first layer. n_layers: layers that halve; 3 see patches of 70 pixels.
    """

    def __init__(self, input_nc: int = 3, ndf: int = 64, n_layers: int = 3) -> None:
        super().__init__()
        self.main = _layers((nn.Conv2d, Norm2d), (input_nc, ndf, n_layers), middle=(2, 2))

    def forward(self, input: Tensor) -> Tensor:
        """See the class."""
        return self.main(input)


class NLayerDiscriminator3D(nn.Module):
    """For clips: (N, input_nc, T, H, W) in [-1, 1] to logits (N, 1, t, h, w), one per patch of some frames.

    Time is halved once, by the first layer; each later layer takes one frame off.
    """

    def __init__(self, input_nc: int = 3, ndf: int = 64, n_layers: int = 3) -> None:
        super().__init__()
        self.main = _layers((nn.Conv3d, Norm3d), (input_nc, ndf, n_layers), middle=(1, 2, 2))

    def forward(self, input: Tensor) -> Tensor:
        """See the class."""
        return self.main(input)


def _layers(kinds: tuple[Any, Any], sizes: tuple[int, int, int], middle: tuple[int, ...]) -> nn.Sequential:
    """kinds: convolution and batch norm. sizes: as the classes take them. middle: strides between first and last."""
    (conv, norm), (channels, width, n_layers) = kinds, sizes
    layers = [conv(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
    for number in range(1, n_layers + 1):
        before, width = width, sizes[1] * min(2**number, LARGEST_FACTOR)
        stride = middle if number < n_layers else 1
        layers += [conv(before, width, 4, stride=stride, padding=1, bias=False), norm(width), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, conv(width, 1, 4, padding=1))


@torch.no_grad()
def initialise(discriminator: nn.Module) -> None:
    """Start values: convolutions N(0, 0.02), batch norms N(1, 0.02) with bias 0. From torch's global generator."""
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
