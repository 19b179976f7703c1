"""LPIPS: a distance between pictures as people see it, from the features of VGG16 (arXiv 1801.03924, section 3).

Weights are not part of vidgen: VGG16's and the five linear heads' come from files that the recipe names.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from vidgen import weights
from vidgen.errors import UserError
from vidgen.weights import State

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
LEVELS: tuple[tuple[int, tuple[int, ...]], ...] = (
    (64, (0, 2)),
    (128, (5, 7)),
    (256, (10, 12, 14)),
    (512, (17, 19, 21)),
    (512, (24, 26, 28)),
)
"""Channels of each level of VGG16, and the numbers of its convolutions in torchvision's `features`."""
SMALLEST_SIDE = 2 ** (len(LEVELS) - 1)
TINY = 1e-10
NAMES_SHOWN = 4


class Scaling(nn.Module):
    """Pixels in [-1, 1] to the range that VGG16 was trained with."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> the same."""
        return (x - self.shift) / self.scale


class Features(nn.Module):
    """VGG16 (arXiv 1409.1556) up to relu5_3, in five levels; each but the first begins with 2x2 max pooling."""

    def __init__(self) -> None:
        super().__init__()
        width = 3
        for number, (channels, indices) in enumerate(LEVELS, start=1):
            level = nn.Sequential()
            if number > 1:
                level.add_module(str(indices[0] - 1), nn.MaxPool2d(2))
            for index in indices:
                level.add_module(str(index), nn.Conv2d(width, channels, 3, padding=1))
                level.add_module(str(index + 1), nn.ReLU())
                width = channels
            self.add_module(f"slice{number}", level)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> relu1_2, relu2_2, relu3_3, relu4_3, relu5_3."""
        found = []
        for level in self.children():
            x = level(x)
            found.append(x)
        return found


class Head(nn.Module):
    """How much each channel of a level counts."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Dropout(), nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1, H, W)."""
        return self.model(x)


class LPIPS(nn.Module):
    """The distance of Open-Sora's autoencoder training; names of entries as published. Frozen, always in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.scaling_layer = Scaling()
        self.net = Features()
        for level, (channels, _) in enumerate(LEVELS):
            self.add_module(f"lin{level}", Head(channels))
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "LPIPS":
        """Stays in eval mode: its dropout was for fitting the heads."""
        return super().train(False)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [-1, 1], sides of 16 pixels or more, to distances (N, 1, 1, 1), 0 where equal."""
        pairs = zip(self.net(self.scaling_layer(input)), self.net(self.scaling_layer(target)), strict=True)
        total = input.new_zeros(len(input), 1, 1, 1)
        for level, (one, other) in enumerate(pairs):
            difference = (_normalised(one) - _normalised(other)) ** 2
            total = total + self.get_submodule(f"lin{level}")(difference).mean(dim=(2, 3), keepdim=True)
        return total


def load_lpips(paths: Sequence[Path]) -> LPIPS:
    """The distance with its weights.

    paths: files that together hold VGG16's features, under torchvision's names (`features.0.weight`) or as
    `net.slice1.0.weight`, and the heads, `lin0.model.1.weight` to `lin4.model.1.weight`. Other entries are left aside.
    Raises: UserError, when a file or an entry is missing or has another shape; RunError, when a file is damaged.
    """
    absent = [str(path) for path in paths if not path.is_file()]
    if absent:
        raise UserError(
            f"perceptual_weights: no such file: {', '.join(absent)}. Give VGG16's weights (torchvision's "
            "vgg16-397923af.pth) and LPIPS' linear heads (vgg.pth of the lpips package), or one file with both; or set "
            "perceptual_loss_weight: 0."
        )
    found: State = {}
    for path in paths:
        found |= weights.read_state(path)
    network = LPIPS()
    network.load_state_dict(_fitting(found, network.state_dict(), paths))
    return network


def _fitting(found: State, own: State, paths: Sequence[Path]) -> State:
    """The entries of `own` out of what was found, the two constants aside. Raises: UserError."""
    named = {_own_name(name): value for name, value in found.items()}
    constants = {name: value for name, value in own.items() if name.startswith("scaling_layer.")}
    wanted = {name: value for name, value in own.items() if name not in constants}
    missing = [name for name in wanted if name not in named]
    differing = [
        f"{name} ({tuple(named[name].shape)}, not {tuple(value.shape)})"
        for name, value in wanted.items()
        if name in named and named[name].shape != value.shape
    ]
    parts = [f"{len(missing)} entries are missing: {_few(missing)}"] if missing else []
    parts += [f"{len(differing)} have another shape: {_few(differing)}"] if differing else []
    if parts:
        raise UserError(
            f"perceptual_weights: {', '.join(map(str, paths))} hold no LPIPS on VGG16; {'; '.join(parts)}. Needed are "
            "features.0.weight ... features.28.bias of torchvision's VGG16 and lin0.model.1.weight ... of lpips."
        )
    return constants | {name: named[name].float() for name in wanted}


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMES_SHOWN]) + (
        f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    )


def _own_name(name: str) -> str:
    """torchvision's `features.5.weight` as `net.slice2.5.weight`; others as they are."""
    prefix, _, rest = name.partition(".")
    index = rest.partition(".")[0]
    if prefix != "features" or not index.isdigit():
        return name
    level = next((number for number, (_, all_) in enumerate(LEVELS, start=1) if int(index) in all_), 0)
    return f"net.slice{level}.{rest}"


def _normalised(x: Tensor) -> Tensor:
    """Every pixel's features to length 1."""
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + TINY)
