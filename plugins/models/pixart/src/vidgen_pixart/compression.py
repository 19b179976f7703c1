"""Self attention of PixArt-Sigma: fewer keys than queries, and normalised queries and keys.

Letters: B clips, t h w frames/rows/columns in patches, N = t h w tokens, n those of a rank, M keys that are left, P
tokens that make one key, K heads, E head width, D = K E. Source: arXiv 2403.04692, section 3.2.
"""

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from vidgen import UserError
from vidgen.attention import AttentionLayer
from vidgen_layers.checks import Size3
from vidgen_layers.layers import RMSNorm
from vidgen_layers.linear import Linear
from vidgen_layers.sharing import Sequences

from vidgen_pixart import KvCompression

Over = Literal["heads", "width"]


class SigmaAttention(AttentionLayer):
    """Multi-head attention within each clip, over some of its keys."""

    def __init__(self, width: int, heads: int, *, norm: Over | None, side: int | None) -> None:
        """norm: of queries and keys; `heads`: root mean square per head, of the keys that are left; `width`: layer norm
        of all keys. side: of the squares over which a learned mean of keys and values is taken, None: of single tokens.
        """
        super().__init__()
        self.heads, self.norm_over = heads, norm
        self.qkv = Linear(width, 3 * width)
        self.q_norm, self.k_norm = (_norm(norm, width, heads) for _ in range(2))
        self.sr = nn.Conv2d(width, width, kernel_size=side, stride=side, groups=width) if side else None
        self.norm = nn.LayerNorm(width) if side else None
        self.proj = Linear(width, width)

    def forward(self, h: Tensor, groups: Tensor | None, clips: Sequences) -> Tensor:
        """h: (B, n, D), this rank's part of the clips' tokens. groups: (M, P), the tokens that make each key; None:
        every token is one. Returns (B, n, D)."""
        q, k, v = self.qkv(h).chunk(3, dim=2)
        if self.norm_over == "width":
            q, k = self.q_norm(q), self.k_norm(k)
        if groups is not None:
            k, v = (self._reduced(clips.everywhere(part), groups) for part in (k, v))
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        if self.norm_over == "heads":
            q, k = self.q_norm(q), self.k_norm(k)
        attend = clips.by_heads(self.backend) if groups is None else self.backend
        return self.proj(attend(q, k, v).transpose(1, 2).flatten(2))

    def _reduced(self, keys: Tensor, groups: Tensor) -> Tensor:
        """keys: (B, N, D). Returns (B, M, D)."""
        if self.sr is None or self.norm is None:
            return keys[:, groups[:, 0]]
        weights = self.sr.weight.flatten(1).t()  # a depthwise convolution whose squares do not overlap: a weighted mean
        means = (keys[:, groups] * weights).sum(2)
        return self.norm(means if self.sr.bias is None else means + self.sr.bias)


def key_groups(config: KvCompression, grid: Size3, device: torch.device) -> Tensor:
    """Which tokens of a clip of `grid` (t, h, w) patches make each key, (M, P) int64. Squares lie within a frame; rows
    and columns behind the last whole square are left out."""
    s = config.scale_factor
    frames, rows, columns = grid
    tokens = torch.arange(frames * rows * columns, device=device)
    if config.sampling == "uniform_every":
        return tokens[::s, None]
    whole = tokens.view(grid)[:, : rows // s * s, : columns // s * s]
    squares = rearrange(whole, "t (h p) (w q) -> (t h w) (p q)", p=s, q=s)
    return squares if config.sampling == "conv" else squares[:, :1]


def check_compression(config: KvCompression, depth: int) -> None:
    """Raises: UserError, when blocks are named that there are not, or no way of compressing."""
    absent = [i for i in config.kv_compress_layer if i >= depth]
    if absent:
        raise UserError(
            f"the model's kv_compress_config names block {absent[0]}, but there are blocks 0 to {depth - 1}; correct "
            "kv_compress_layer, or set depth"
        )
    if config.sampling is None and config.scale_factor > 1 and config.kv_compress_layer:
        raise UserError(
            f"the model's kv_compress_config has scale_factor {config.scale_factor} and blocks, but no sampling; set "
            "sampling to conv, uniform, ave or uniform_every, or scale_factor to 1"
        )


def check_grid(config: KvCompression, grid: Size3) -> None:
    """Raises: UserError, when the keys of clips of `grid` (t, h, w) patches cannot be compressed so."""
    s = config.scale_factor
    frames, rows, columns = grid
    if config.sampling == "uniform_every":
        fits = frames * rows * columns % s == 0
    elif config.sampling == "uniform":
        fits = rows % s == 0 and columns % s == 0
    else:
        fits = min(rows, columns) >= s
    if not fits:
        needs = {
            "uniform_every": f"a number of tokens that divides by {s}",
            "uniform": f"rows and columns of patches that divide by {s}",
        }.get(str(config.sampling), f"{s} rows and columns of patches or more")
        raise UserError(
            f"the model's kv_compress_config ({config.sampling}, scale_factor {s}) takes {needs}; clips of {rows} rows "
            f"and {columns} columns of patches in {frames} frames have not. Use another size, sampling or scale_factor"
        )


def _norm(over: Over | None, width: int, heads: int) -> nn.Module:
    if over is None:
        return nn.Identity()
    return RMSNorm(width // heads, eps=1e-6) if over == "heads" else nn.LayerNorm(width)
