"""Layers of T5 in fewer steps, equal within rounding. They are put in from outside; names in the state dict stay."""

import torch.nn.functional as F
from torch import Tensor, nn

FUSED_ACTIVATIONS = {"gelu_new": "gelu_pytorch_tanh"}
"""The activations of transformers by name: the same function, spelled out or in one step."""

NORMS = ("layer_norm", "final_layer_norm")


class FusedNorm(nn.Module):
    """T5's norm: divided by the root of the mean square, which is taken in float32, and scaled; nothing is subtracted.

    Source: arXiv 1910.07467, section 4.
    """

    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D). Returns (..., D), in the weight's dtype."""
        return F.rms_norm(x, x.shape[-1:], eps=self.eps).to(self.weight.dtype) * self.weight


def fuse_norms(network: nn.Module, eps: float) -> None:
    """Replace all norms of a T5 encoder."""
    for path, module in list(network.named_modules()):
        owner, _, name = path.rpartition(".")
        if name in NORMS:
            setattr(network.get_submodule(owner), name, FusedNorm(module.get_parameter("weight"), eps))
