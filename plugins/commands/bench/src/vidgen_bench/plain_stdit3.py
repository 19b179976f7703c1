"""STDiT3 as its description reads, line by line: nothing fused, nothing skipped, every score in memory.

What `STDiT3` is measured against. Its entries have the names of the published weights. Source: the Open-Sora 1.2
report and its released weights; the layers follow arXiv 2310.00426 (PixArt-alpha).

Letters: B clips, C latent channels, T H W latent frames/rows/columns, t S frames and tokens of a frame in patches,
N caption tokens, D width, K heads, E = D / K.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = (1, 2, 2)


def sines(numbers: Tensor, width: int) -> Tensor:
    """(B,) -> (B, width), cosines first."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
    angles = numbers[:, None].float() * frequencies
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Scale and shift."""
    return h * (1 + scale) + shift


class Number(nn.Module):
    """A number to a vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, numbers: Tensor) -> Tensor:
        """(B,) -> (B, D)."""
        return self.mlp(sines(numbers, 256))


class Mlp(nn.Module):
    """Two linear maps."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, out)

    def forward(self, h: Tensor) -> Tensor:
        """(..., width) -> (..., out)."""
        return self.fc2(F.gelu(self.fc1(h), approximate="tanh"))


class Norm(nn.Module):
    """Root-mean-square normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, h: Tensor) -> Tensor:
        """(..., E) -> (..., E)."""
        return self.weight * (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6))


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """(B, K, N, E) each."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return scores.softmax(dim=-1) @ v


class SelfAttention(nn.Module):
    """Over space, or over time with rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.q_norm, self.k_norm = Norm(width // heads), Norm(width // heads)

    def forward(self, h: Tensor, frequencies: Tensor | None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        b, n, d = h.shape
        q, k, v = self.qkv(h).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        if frequencies is not None:
            q, k = rotated(q, frequencies), rotated(k, frequencies)
        return self.proj(softmax_attention(q, k, v).transpose(1, 2).reshape(b, n, d))


def rotated(q: Tensor, frequencies: Tensor) -> Tensor:
    """(B, K, N, E) with adjacent channels turned by their position's angle."""
    angles = (torch.arange(q.shape[2])[:, None] * frequencies).repeat_interleave(2, dim=-1)
    a, b = q.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([-b, a], dim=-1).flatten(-2)
    return q * angles.cos() + turned * angles.sin()


class CrossAttention(nn.Module):
    """Each clip to its own part of the packed captions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_linear, self.kv_linear = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, h: Tensor, y: Tensor, lengths: list[int]) -> Tensor:
        """h: (B, N, D); y: (sum of lengths, D). Returns (B, N, D)."""
        b, n, d = h.shape
        q = self.q_linear(h).view(b, n, self.heads, -1).transpose(1, 2)
        k, v = self.kv_linear(y).view(len(y), 2, self.heads, -1).permute(1, 2, 0, 3)
        start, outs = 0, []
        for i, length in enumerate(lengths):
            own = slice(start, start + length)
            outs.append(softmax_attention(q[i : i + 1], k[None, :, own], v[None, :, own]))
            start += length
        return self.proj(torch.cat(outs).transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
    """Attention over space or time, to the caption, then an MLP."""

    def __init__(self, width: int, heads: int, *, temporal: bool) -> None:
        super().__init__()
        self.temporal = temporal
        self.scale_shift_table = nn.Parameter(torch.empty(6, width))
        self.attn, self.cross_attn = SelfAttention(width, heads), CrossAttention(width, heads)
        self.mlp = Mlp(width, 4 * width, width)

    def forward(
        self, h: Tensor, y: Tensor, lengths: list[int], t: Tensor, t0: Tensor, x_mask: Tensor | None, turning: Tensor
    ) -> Tensor:
        """h: (B, t, S, D); t, t0: (B, 6 D); x_mask: (B, t) bool. Returns (B, t, S, D)."""
        b, frames, s, d = h.shape
        six = self._six(t)
        six0 = self._six(t0)

        def chosen(with_t: Tensor, with_t0: Tensor) -> Tensor:
            return with_t if x_mask is None else torch.where(x_mask[:, :, None, None], with_t, with_t0)

        def normed(row: int) -> Tensor:
            u = F.layer_norm(h, (d,), eps=1e-6)
            first = modulate(u, six[row], six[row + 1])
            return first if x_mask is None else chosen(first, modulate(u, six0[row], six0[row + 1]))

        def gated(branch: Tensor, row: int) -> Tensor:
            return six[row] * branch if x_mask is None else chosen(six[row] * branch, six0[row] * branch)

        if self.temporal:
            u = normed(0).transpose(1, 2).reshape(b * s, frames, d)
            branch = self.attn(u, turning).view(b, s, frames, d).transpose(1, 2)
        else:
            branch = self.attn(normed(0).reshape(b * frames, s, d), None).view(b, frames, s, d)
        h = h + gated(branch, 2)
        h = h + self.cross_attn(h.reshape(b, frames * s, d), y, lengths).view_as(h)
        return h + gated(self.mlp(normed(3)), 5)

    def _six(self, t: Tensor) -> list[Tensor]:
        return [(self.scale_shift_table + t.view(len(t), 6, -1))[:, i, None, None] for i in range(6)]


class Final(nn.Module):
    """Modulation and the map to the numbers of a patch; frames without noise are modulated twice, as the published
    weights want it."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out)
        self.scale_shift_table = nn.Parameter(torch.empty(2, width))

    def forward(self, h: Tensor, t: Tensor, t0: Tensor, x_mask: Tensor | None) -> Tensor:
        """h: (B, t, S, D); t, t0: (B, D). Returns (B, t, S, out)."""
        u = self._modulated(h, t)
        if x_mask is not None:
            u = torch.where(x_mask[:, :, None, None], u, self._modulated(u, t0))
        return self.linear(u)

    def _modulated(self, h: Tensor, t: Tensor) -> Tensor:
        shift, scale = ((self.scale_shift_table + t[:, None])[:, i, None, None] for i in range(2))
        return modulate(F.layer_norm(h, h.shape[-1:], eps=1e-6), shift, scale)


class PlainSTDiT3(nn.Module):
    """The network, with the options that matter here at their defaults."""

    def __init__(self, *, width: int, heads: int, depth: int, channels: int, caption: int, length: int) -> None:
        super().__init__()
        self.x_embedder = nn.ModuleDict({"proj": nn.Conv3d(channels, width, PATCH, PATCH)})
        self.t_embedder, self.fps_embedder = Number(width), Number(width)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.y_embedder = nn.ModuleDict({"y_proj": Mlp(caption, width, width)})
        self.y_embedder.register_buffer("y_embedding", torch.empty(length, caption))
        self.spatial_blocks = nn.ModuleList(Block(width, heads, temporal=False) for _ in range(depth))
        self.temporal_blocks = nn.ModuleList(Block(width, heads, temporal=True) for _ in range(depth))
        self.rope = nn.ParameterDict({"freqs": nn.Parameter(torch.empty(width // heads // 2), requires_grad=False)})
        self.final_layer = Final(width, math.prod(PATCH) * 2 * channels)

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        y: Tensor,
        mask: Tensor,
        fps: Tensor,
        height: Tensor,
        width: Tensor,
        x_mask: Tensor | None = None,
    ) -> Tensor:
        """As `STDiT3`: x (B, C, T, H, W), y (B, N, caption width), mask (B, N). Returns (B, 2 C, T, H, W)."""
        h = self.x_embedder["proj"](x)
        b, d, frames, rows, columns = h.shape
        h = h.flatten(3).permute(0, 2, 3, 1) + self._positions(d, rows, columns, float(height[0]) * float(width[0]))
        fps = self.fps_embedder(fps)
        t, t0 = self.t_embedder(timestep) + fps, self.t_embedder(torch.zeros_like(timestep)) + fps
        captions = self.y_embedder["y_proj"](y)[mask.bool()]
        lengths = mask.sum(1).tolist()
        six, six0, turning = self.t_block(t), self.t_block(t0), self.rope["freqs"]
        for pair in zip(self.spatial_blocks, self.temporal_blocks, strict=True):
            for block in pair:
                h = block(h, captions, lengths, six, six0, x_mask, turning)
        out = self.final_layer(h, t, t0, x_mask)
        out = out.view(b, frames, rows, columns, *PATCH, -1).permute(0, 7, 1, 4, 2, 5, 3, 6)
        return out.reshape(b, -1, frames * PATCH[0], rows * PATCH[1], columns * PATCH[2])

    def _positions(self, width: int, rows: int, columns: int, area: float) -> Tensor:
        scale, base = math.sqrt(area) / 512, round(math.sqrt(rows * columns))
        frequencies = 10000.0 ** (-torch.arange(width // 4) / (width // 4))
        halves = []
        for count, axis in ((columns, 1), (rows, 0)):
            angles = (torch.arange(count) / scale * base / count)[:, None] * frequencies
            table = torch.cat([angles.sin(), angles.cos()], dim=-1)
            halves.append(table[None].expand(rows, -1, -1) if axis else table[:, None].expand(-1, columns, -1))
        return torch.cat(halves, dim=-1).flatten(0, 1)
