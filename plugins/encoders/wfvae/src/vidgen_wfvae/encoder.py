"""The encoder: a clip's wavelets through three levels, into which wavelets of the wavelets flow.

Letters: B clips, T H W frames/rows/columns of video, b base_channels, e encoder_energy_flow_hidden_size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidgen_wfvae import NetworkOptions
from vidgen_wfvae.chunks import Chunk
from vidgen_wfvae.layers import (
    CausalConv3d,
    Chain,
    FrameAttention,
    FrameConv,
    FrameHalving,
    FrameResBlock,
    Halving,
    Kind,
    ResBlock,
)
from vidgen_wfvae.wavelets import ClipWavelet, FrameWavelet

COLOURS = 3
CLIP_BANDS, FRAME_BANDS = 8 * COLOURS, 4 * COLOURS
"""Channels of the wavelets of a clip and of frames."""


class Encoder(nn.Module):
    """Wavelets of a clip are 1 of 2 frames, rows and columns; each `down` halves rows and columns again, and frames the
    second one or both. Entries are named as published (so spelled). Source: arXiv 2411.17459, section 3.2."""

    def __init__(self, shape: NetworkOptions) -> None:
        super().__init__()
        kind = Kind(norm_type=shape.norm_type, dropout=shape.dropout)
        b, e, blocks = shape.base_channels, shape.encoder_energy_flow_hidden_size, shape.encoder_num_resblocks
        twice = shape.frames_per_latent() == 8
        self.wavelet_tranform_l1 = ClipWavelet() if twice else FrameWavelet()
        self.wavelet_tranform_l2 = ClipWavelet()
        self.connect_l1 = FrameConv(CLIP_BANDS if twice else FRAME_BANDS, e)
        self.connect_l2 = FrameConv(CLIP_BANDS, e)
        self.down1 = Chain(
            [
                FrameConv(CLIP_BANDS, b),
                *(FrameResBlock(b, kind) for _ in range(blocks)),
                Halving(b) if twice else FrameHalving(b),
            ]
        )
        self.down2 = Chain(
            [FrameConv(b + e, 2 * b), *(ResBlock(2 * b, 2 * b, kind) for _ in range(blocks)), Halving(2 * b)]
        )
        attention = [FrameAttention(4 * b, kind)] if shape.use_attention else []
        self.mid = Chain([ResBlock(2 * b + e, 4 * b, kind), *attention, ResBlock(4 * b, 4 * b, kind)])
        self.norm_out = kind.norm(4 * b)
        self.conv_out = CausalConv3d(4 * b, 2 * shape.latent_dim)

    def forward(self, video: Tensor, chunk: Chunk) -> Tensor:
        """video: (B, 3, T, H, W) in [-1, 1]. Returns means and log variances, (B, 2 latent_dim, t, H // 8, W // 8)."""
        of_video = self.wavelet_tranform_l2(video, chunk)
        of_wavelets = self.wavelet_tranform_l1(of_video[:, :COLOURS], chunk)
        l1 = self.connect_l1(of_wavelets, chunk)
        l2 = self.connect_l2(self.wavelet_tranform_l2(of_wavelets[:, :COLOURS], chunk), chunk)
        h = self.down1(of_video, chunk)
        h = self.down2(torch.cat([h, l1], dim=1), chunk)
        h = self.mid(torch.cat([h, l2], dim=1), chunk)
        return self.conv_out(functional.silu(self.norm_out(h)), chunk)
