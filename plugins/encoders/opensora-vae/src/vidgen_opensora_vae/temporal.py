"""The temporal autoencoder: clips of image latents, fewer frames of latents, and back. Open-Sora 1.2's VAE_Temporal.

Letters: B clips, C channels, T H W frames/rows/columns of image latents, f frames per latent frame.
"""

from collections.abc import Sequence

import torch
from attrs import frozen
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from vidgen_autoencoders.posterior import Posterior

from vidgen_opensora_vae.causal import ACTIVATIONS, Activation, CausalConv3d, ResBlock


@frozen(kw_only=True)
class Shape:
    """What encoder and decoder have in common; see `vidgen_opensora_vae.TemporalOptions`."""

    widths: tuple[int, ...]
    halved: tuple[bool, ...]
    res_blocks: int
    groups: int
    activation: Activation

    def stack(self, inputs: int, outputs: int) -> nn.Sequential:
        """The residual blocks of one level."""
        entries = [inputs, *[outputs] * (self.res_blocks - 1)]
        return nn.Sequential(*(ResBlock(entry, outputs, self.groups, self.activation) for entry in entries))


class Encoder(nn.Module):
    """Levels of residual blocks, the frames halved between some of them. Entries are named as published."""

    def __init__(self, inputs: int, outputs: int, filters: int, shape: Shape) -> None:
        super().__init__()
        widths, last = shape.widths, shape.widths[-1]
        self.activation = shape.activation
        self.conv_in = CausalConv3d(inputs, filters, (3, 3, 3), bias=False)
        self.block_res_blocks = nn.ModuleList(
            shape.stack(entry, width) for entry, width in zip((filters, *widths[:-1]), widths, strict=True)
        )
        self.conv_blocks = nn.ModuleList(
            CausalConv3d(width, width, (3, 3, 3), stride=2) if halved else nn.Identity()
            for width, halved in zip(widths[:-1], shape.halved, strict=True)
        )
        self.res_blocks = shape.stack(last, last)
        self.norm1 = nn.GroupNorm(shape.groups, last)
        self.conv2 = CausalConv3d(last, outputs, (1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, T, H, W), T a multiple of f -> (B, outputs, T / f, H, W)."""
        h = self.conv_in(x)
        for blocks, halve in zip(self.block_res_blocks, [*self.conv_blocks, nn.Identity()], strict=True):
            h = halve(blocks(h))
        return self.conv2(self.activation(self.norm1(self.res_blocks(h))))


class Decoder(nn.Module):
    """The encoder's levels backwards; lists count from the level with most frames, so that block 0 runs last."""

    def __init__(self, inputs: int, outputs: int, shape: Shape) -> None:
        super().__init__()
        widths, last = shape.widths, shape.widths[-1]
        self.activation = shape.activation
        self.conv1 = CausalConv3d(inputs, last, (3, 3, 3))
        self.res_blocks = shape.stack(last, last)
        self.block_res_blocks = nn.ModuleList(
            shape.stack(entry, width) for entry, width in zip((*widths[1:], last), widths, strict=True)
        )
        self.conv_blocks = nn.ModuleList(
            Doubling(width) if doubled else nn.Identity()
            for width, doubled in zip(widths[1:], shape.halved, strict=True)
        )
        self.norm1 = nn.GroupNorm(shape.groups, widths[0])
        self.conv_out = CausalConv3d(widths[0], outputs, (3, 3, 3))

    def forward(self, z: Tensor) -> Tensor:
        """(B, inputs, T, H, W) -> (B, outputs, f T, H, W)."""
        h = self.res_blocks(self.conv1(z))
        doublings = [*reversed(self.conv_blocks), nn.Identity()]
        for blocks, double in zip(reversed(self.block_res_blocks), doublings, strict=True):
            h = double(blocks(h))
        return self.conv_out(self.activation(self.norm1(h)))


class Doubling(CausalConv3d):
    """Twice as many frames: a convolution to twice the channels, of which every second one is the later frame's."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 2 * width, (3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, 2T, H, W)."""
        return rearrange(super().forward(x), "b (c r) t h w -> b c (t r) h w", r=2)


class TemporalAutoencoder(nn.Module):
    """Clips of image latents to a posterior over fewer latent frames, and back.

    Zero frames are put in front of a clip until `factor` (f) divides its length, and dropped again when decoding.
    The arguments are those of `vidgen_opensora_vae.TemporalOptions`.
    Source: arXiv 2310.05737, section 3.1; Open-Sora 1.2, VAE_Temporal.
    """

    def __init__(
        self,
        *,
        in_out_channels: int = 4,
        latent_embed_dim: int = 4,
        embed_dim: int = 4,
        filters: int = 128,
        num_res_blocks: int = 4,
        channel_multipliers: Sequence[int] = (1, 2, 2, 4),
        temporal_downsample: Sequence[bool] = (True, True, False),
        num_groups: int = 32,
        activation_fn: str = "swish",
    ) -> None:
        super().__init__()
        self.in_out_channels, self.embed_dim = in_out_channels, embed_dim
        self.factor = 2 ** sum(temporal_downsample)
        shape = Shape(
            widths=tuple(filters * multiplier for multiplier in channel_multipliers),
            halved=tuple(temporal_downsample),
            res_blocks=num_res_blocks,
            groups=num_groups,
            activation=ACTIVATIONS[activation_fn],
        )
        self.encoder = Encoder(in_out_channels, 2 * latent_embed_dim, filters, shape)
        self.quant_conv = CausalConv3d(2 * latent_embed_dim, 2 * embed_dim, (1, 1, 1))
        self.post_quant_conv = CausalConv3d(embed_dim, latent_embed_dim, (1, 1, 1))
        self.decoder = Decoder(latent_embed_dim, in_out_channels, shape)

    def encode(self, x: Tensor) -> Posterior:
        """x: image latents (B, in_out_channels, T, H, W). Returns the posterior, over (B, embed_dim, T / f rounded up,
        H, W)."""
        front = -x.shape[2] % self.factor
        padded = functional.pad(x, (0, 0, 0, 0, front, 0)) if front else x
        return Posterior(self.quant_conv(self.encoder(padded.to(self._dtype))))

    def decode(self, z: Tensor, num_frames: int) -> Tensor:
        """z: (B, embed_dim, T, H, W), T latent frames. Returns image latents (B, in_out_channels, f T - d, H, W), where
        d = (-num_frames) mod f frames are dropped from the front. Nothing but num_frames mod f matters."""
        return self.decoder(self.post_quant_conv(z.to(self._dtype)))[:, :, -num_frames % self.factor :]

    def latent_frames(self, num_frames: int) -> int:
        """ceil(num_frames / f)."""
        return -(-num_frames // self.factor)

    @property
    def _dtype(self) -> torch.dtype:
        return self.quant_conv.conv.weight.dtype
