"""Blocks and final layer with adaLN-Zero: every modulation is a linear map of the condition.

Letters: B sequences, N tokens, D width. Source: arXiv 2212.09748, section 3.2.
"""

from torch import Tensor, nn

from vidgen_layers.attention import SelfAttention
from vidgen_layers.layers import Mlp, add_gated, modulate
from vidgen_layers.linear import Linear
from vidgen_layers.sharing import Attends


class AdaLNBlock(nn.Module):
    """Self attention, then an MLP, both modulated and gated by the condition."""

    def __init__(self, width: int, heads: int, mlp_width: int) -> None:
        super().__init__()
        self.attn = SelfAttention(width, heads)
        self.mlp = Mlp(width, mlp_width, width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), Linear(width, 6 * width))

    def forward(self, h: Tensor, c: Tensor, among: Attends) -> Tensor:
        """h: (B, ..., D); c: (B, D). among: how the tokens attend. Returns (B, ..., D)."""
        c = self.adaLN_modulation(c).view(len(c), *[1] * (h.ndim - 2), -1)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = c.chunk(6, dim=-1)
        h = add_gated(h, gate_a, among.attend(self.attn, modulate(h, shift_a, scale_a)))
        return add_gated(h, gate_m, self.mlp(modulate(h, shift_m, scale_m)))


class AdaLNFinalLayer(nn.Module):
    """Modulated normalisation and the map to the numbers of a patch."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear = Linear(width, out)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), Linear(width, 2 * width))

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """h: (B, ..., D); c: (B, D). Returns (B, ..., out)."""
        c = self.adaLN_modulation(c).view(len(c), *[1] * (h.ndim - 2), -1)
        shift, scale = c.chunk(2, dim=-1)
        return self.linear(modulate(h, shift, scale))
