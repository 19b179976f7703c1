"""Small layers of every model: MLP, modulation, normalisation, stochastic depth, final layer.

Letters: B clips, T frames in patches, S tokens of one frame, D width. Hidden states are (B, T, S, D). Conditioning
vectors are (B, T, ...) or (B, 1, ...): one for each frame, or one for the clip.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, rms_norm

from vidgen_layers.linear import Linear


class Mlp(nn.Module):
    """Linear, GELU (tanh approximation), Linear."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden)
        self.act = nn.GELU(approximate="tanh")
        self.fc2 = Linear(hidden, out)

    def forward(self, h: Tensor) -> Tensor:
        """(..., width) -> (..., out)."""
        return self.fc2(self.act(self.fc1(h)))


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer normalisation without learned numbers, then h * (1 + scale) + shift."""
    # In place costs the backward pass half of what addcmul does: no copy for the gradient of the scale.
    return (layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + scale)).add_(shift)


def add_gated(h: Tensor, gate: Tensor, branch: Tensor) -> Tensor:
    """h + gate * branch, in one pass over memory."""
    return torch.addcmul(h, gate, branch)


def table_rows(table: Tensor, condition: Tensor) -> tuple[Tensor, ...]:
    """table: (R, D), learned; condition: (B, T or 1, R * D). Returns the R sums, (B, T or 1, 1, D) each."""
    return (table + condition.unflatten(2, table.shape)).unsqueeze(2).unbind(3)


class RMSNorm(nn.RMSNorm):
    """Root-mean-square normalisation, in float32 inside (arXiv 1910.07467)."""

    def forward(self, h: Tensor) -> Tensor:
        """(..., E) -> (..., E), of the type of h: under autocast the weight is wider, which no fused kernel takes."""
        assert self.weight is not None
        return rms_norm(h, self.weight.shape, self.weight.to(h.dtype), self.eps)


class DropPath(nn.Module):
    """Stochastic depth (arXiv 1603.09382): in training, a clip's branch is left out with probability `rate`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """(B, ...) -> (B, ...); what is kept is enlarged by 1 / (1 - rate)."""
        if self.idle:
            return branch
        return branch * self.factors(branch.new_empty(branch.shape[0], *[1] * (branch.ndim - 1)))

    @property
    def idle(self) -> bool:
        """Whether nothing is ever left out."""
        return not self.training or self.rate == 0

    def factors(self, places: Tensor) -> Tensor:
        """`places`, one for each clip, filled in place: 0 where its branch is left out, else 1 / (1 - rate)."""
        keep = 1 - self.rate
        return places.bernoulli_(keep).div_(keep)


def drop_path_rates(last: float, depth: int) -> list[float]:
    """The rate of every block, rising linearly from 0 to `last`."""
    return torch.linspace(0, last, depth, device="cpu").tolist()


class FinalLayer(nn.Module):
    """Modulated normalisation and the map to the numbers of a patch."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear = Linear(width, out)
        self.scale_shift_table = nn.Parameter(torch.empty(2, width))

    def forward(self, h: Tensor, t: Tensor) -> Tensor:
        """(B, T, S, D), (B, D) -> (B, T, S, out)."""
        return self.linear(self.modulated(h, t))

    def by_frame(self, h: Tensor, t: Tensor, t0: Tensor, x_mask: Tensor) -> Tensor:
        """As `forward` where x_mask (B, T) is true. Frames where it is false are modulated again, with the zero-time
        vector t0, starting from what the first modulation gave: so the published models were trained."""
        u = self.modulated(h, t)
        return self.linear(torch.where(x_mask[:, :, None, None], u, self.modulated(u, t0)))

    def modulated(self, h: Tensor, t: Tensor) -> Tensor:
        """h: (B, T, S, D), t: (B or 1, D). Returns (B, T, S, D)."""
        shift, scale = (vector[:, None, None] for vector in self.vectors(t))
        return modulate(h, shift, scale)

    def vectors(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and scale, (B or 1, D) each. t: (B or 1, D)."""
        shift, scale = (self.scale_shift_table + t[:, None]).unbind(1)
        return shift, scale
