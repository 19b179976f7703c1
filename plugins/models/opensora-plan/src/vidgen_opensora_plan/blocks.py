"""The block: attention among tokens, attention to the caption, MLP; and what makes vectors of time and captions.

Letters: B clips, N tokens, n those of a rank, L caption tokens, D width, K heads, E head width.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from vidgen.attention import AttentionLayer, KeyMask
from vidgen_layers.embedders import FREQUENCIES, number_features
from vidgen_layers.layers import add_gated
from vidgen_layers.linear import Linear
from vidgen_layers.sharing import Sequences

from vidgen_opensora_plan import T2VOptions
from vidgen_opensora_plan.counting import Blank, attend
from vidgen_opensora_plan.dealing import Dealing
from vidgen_opensora_plan.rotary import Rotation, rotate


class Caption(NamedTuple):
    """Captions as blocks read them. tokens: (B, L, D). keys: which count; None: all. blank: captions of which none
    does."""

    tokens: Tensor
    keys: KeyMask | None
    blank: Blank | None


class Attention(AttentionLayer):
    """What both kinds of attention have."""

    def __init__(self, options: T2VOptions) -> None:
        super().__init__()
        self.heads = options.num_attention_heads
        width, bias = self.heads * options.attention_head_dim, options.attention_bias
        self.to_q = Linear(width, width, bias=bias)
        self.to_k = Linear(width, width, bias=bias)
        self.to_v = Linear(width, width, bias=bias)
        self.to_out = nn.Sequential(Linear(width, width), nn.Dropout(options.dropout))

    def of_heads(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, K, E)."""
        return x.unflatten(2, (self.heads, -1))


class SelfAttention(Attention):
    """Tokens among themselves, or within the sub-sequences to which they are dealt."""

    def forward(self, h: Tensor, rotation: Rotation, dealing: Dealing, clips: Sequences) -> Tensor:
        """h: (B, n, D), this rank's part of the clips' tokens. Returns (B, n, D)."""
        q, k, v = self.of_heads(self.to_q(h)), self.of_heads(self.to_k(h)), self.of_heads(self.to_v(h))
        q, k, v = (clips.in_heads(x) for x in (rotate(q, rotation), rotate(k, rotation), v))
        return self.to_out(clips.in_tokens(dealing.attend(self.backend, q, k, v), self.heads).flatten(2))


class CrossAttention(Attention):
    """Tokens look at the caption of their clip. Dealing them would change nothing."""

    def forward(self, h: Tensor, text: Caption) -> Tensor:
        """h: (B, N, D). Returns (B, N, D)."""
        projected = self.to_q(h), self.to_k(text.tokens), self.to_v(text.tokens)
        q, k, v = (self.of_heads(x).transpose(1, 2) for x in projected)
        return self.to_out(attend(self.backend, q, k, v, text.keys, text.blank).transpose(1, 2).flatten(2))


class Gelu(nn.Module):
    """Linear, then GELU (tanh approximation)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj = Linear(width, hidden)

    def forward(self, h: Tensor) -> Tensor:
        """(..., width) -> (..., hidden)."""
        return gelu(self.proj(h), approximate="tanh")


class GeGlu(nn.Module):
    """Linear to values and gates; values times the GELU of their gates (arXiv 2002.05202)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj = Linear(width, 2 * hidden)

    def forward(self, h: Tensor) -> Tensor:
        """(..., width) -> (..., hidden)."""
        value, gate = self.proj(h).chunk(2, dim=-1)
        return value * gelu(gate)


class FeedForward(nn.Module):
    """The MLP, four times as wide inside."""

    def __init__(self, options: T2VOptions, width: int) -> None:
        super().__init__()
        first = (GeGlu if options.activation_fn == "geglu" else Gelu)(width, 4 * width)
        self.net = nn.Sequential(first, nn.Dropout(options.dropout), Linear(4 * width, width))

    def forward(self, h: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return self.net(h)


class Block(nn.Module):
    """Self attention and MLP are modulated and gated by the time; attention to the caption is neither, nor normed."""

    def __init__(self, options: T2VOptions, width: int) -> None:
        super().__init__()
        affine, eps = options.norm_elementwise_affine, options.norm_eps
        self.scale_shift_table = nn.Parameter(torch.empty(6, width))
        self.norm1 = nn.LayerNorm(width, eps=eps, elementwise_affine=affine)
        self.attn1 = SelfAttention(options)
        self.attn2 = CrossAttention(options)
        self.norm2 = nn.LayerNorm(width, eps=eps, elementwise_affine=affine)
        self.ff = FeedForward(options, width)

    def forward(
        self, h: Tensor, text: Caption, time: Tensor, rotation: Rotation, dealing: Dealing, clips: Sequences
    ) -> Tensor:
        """h: (B, n, D), this rank's part of the clips' tokens. time: (B, 6, D), of `AdaLNSingle`. Returns (B, n, D)."""
        rows = (self.scale_shift_table + time).unsqueeze(2).unbind(1)  # (B, 1, D) each
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = rows
        u = (self.norm1(h) * (1 + scale_a)).add_(shift_a)
        h = add_gated(h, gate_a, self.attn1(u, rotation, dealing, clips))
        h = h + self.attn2(h, text)
        u = (self.norm2(h) * (1 + scale_m)).add_(shift_m)
        return add_gated(h, gate_m, self.ff(u))


class TwoLayers(nn.Module):
    """Linear, a curve, Linear."""

    def __init__(self, inputs: int, width: int, curve: nn.Module) -> None:
        super().__init__()
        self.linear_1 = Linear(inputs, width)
        self.curve = curve
        self.linear_2 = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., width), of the weights' type."""
        return self.linear_2(self.curve(self.linear_1(x.to(self.linear_1.weight.dtype))))


class TimeEmbedder(nn.Module):
    """A vector for the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = TwoLayers(2 * FREQUENCIES, width, nn.SiLU())

    def forward(self, timestep: Tensor) -> Tensor:
        """(B,) -> (B, D)."""
        return self.timestep_embedder(number_features(timestep))


class AdaLNSingle(nn.Module):
    """What all blocks are told of the time; each adds its own table (arXiv 2310.00426, section 2.3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.emb = TimeEmbedder(width)
        self.linear = Linear(width, 6 * width)

    def forward(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) -> the vector of time (B, D), and its six modulations (B, 6, D)."""
        t = self.emb(timestep)
        return t, self.linear(nn.functional.silu(t)).unflatten(1, (6, -1))
