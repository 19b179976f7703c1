"""Colour pictures to one number a pixel."""

import torch
from torch import Tensor

WEIGHTS = (0.299, 0.587, 0.114)  # of red, green, blue: ITU-R BT.601, section 2.5.1


def brightness(frame: Tensor) -> Tensor:
    """(3, H, W) uint8 RGB to (H, W) float64, 0 to 255."""
    return torch.einsum("chw,c->hw", frame.double(), torch.tensor(WEIGHTS, dtype=torch.float64))
