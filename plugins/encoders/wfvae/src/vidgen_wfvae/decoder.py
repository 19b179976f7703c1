"""The decoder: latents through three levels to a clip's wavelets, to which wavelets of the wavelets are added.

Letters: B clips, T H W latent frames/rows/columns, b base_channels and as much of the energy flow.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidgen_wfvae import NetworkOptions
from vidgen_wfvae.chunks import Chunk
from vidgen_wfvae.encoder import CLIP_BANDS, COLOURS, FRAME_BANDS
from vidgen_wfvae.layers import CausalConv3d, Chain, Doubling, FrameAttention, FrameConv, FrameDoubling, Kind, ResBlock
from vidgen_wfvae.wavelets import InverseClipWavelet, InverseFrameWavelet

AHEAD = 1
"""Latent frames after a chunk that is not the last one, with which it is decoded and which are cut off again."""


class Decoder(nn.Module):
    """Each `up` doubles rows and columns, and frames the first one or both; a clip's wavelets do so once more. Entries
    are named as published (so spelled). Source: arXiv 2411.17459, section 3.2."""

    def __init__(self, shape: NetworkOptions) -> None:
        super().__init__()
        self.kind = Kind(norm_type=shape.norm_type, dropout=shape.dropout)
        b, blocks = shape.base_channels, shape.decoder_num_resblocks
        twice = shape.frames_per_latent() == 8
        deep, high = AHEAD, 2 * AHEAD
        self.width, self.ahead = 4 * b, 2 * high if twice else high
        self.conv_in = CausalConv3d(shape.latent_dim, 4 * b, ahead=deep)
        attention = [FrameAttention(4 * b, self.kind)] if shape.use_attention else []
        self.mid = Chain([self._block(4 * b, 4 * b, deep), *attention, self._block(4 * b, 5 * b, deep)])
        self.connect_l2 = self._connection(b, CLIP_BANDS, shape.connect_res_layer_num, deep)
        self.inverse_wavelet_tranform_l2 = InverseClipWavelet()
        self.up2 = Chain(
            [
                *(self._block(4 * b, 4 * b, deep) for _ in range(blocks)),
                Doubling(4 * b, shape.t_interpolation, ahead=deep),
                self._block(4 * b, 5 * b, high),
            ]
        )
        self.connect_l1 = self._connection(b, CLIP_BANDS if twice else FRAME_BANDS, shape.connect_res_layer_num, high)
        self.inverse_wavelet_tranform_l1 = InverseClipWavelet() if twice else InverseFrameWavelet()
        self.up1 = Chain(
            [
                self._block(4 * b, 2 * b, high),
                *(self._block(2 * b, 2 * b, high) for _ in range(blocks - 1)),
                Doubling(2 * b, "trilinear", ahead=high) if twice else FrameDoubling(2 * b),
                self._block(2 * b, 2 * b, self.ahead),
            ]
        )
        self.layer = Chain([self._block(2 * b, b, self.ahead), self._block(b, b, self.ahead)])
        self.norm_out = self.kind.norm(b)
        self.conv_out = FrameConv(b, CLIP_BANDS)

    def forward(self, z: Tensor, chunk: Chunk) -> Tensor:
        """z: (B, latent_dim, T, H, W), after a chunk that is not the last one with AHEAD more frames. Returns video
        (B, 3, 4 T - 3 or 8 T - 7 in the first chunk and else 4 T or 8 T, 8H, 8W) of the chunk's own T frames."""
        h, flow = self._split(self.mid(self.conv_in(z, chunk), chunk))
        l2 = self.inverse_wavelet_tranform_l2(self.connect_l2(flow, chunk), chunk)
        h, flow = self._split(self.up2(h, chunk))
        l1 = self.inverse_wavelet_tranform_l1(_with(self.connect_l1(flow, chunk), l2), chunk)
        h = self.layer(self.up1(h, chunk), chunk)
        wavelets = _with(self.conv_out(functional.silu(self.norm_out(h)), chunk), l1)
        own = wavelets if chunk.last else wavelets[:, :, : -self.ahead]
        return self.inverse_wavelet_tranform_l2(own, chunk)

    def _split(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return h[:, : self.width], h[:, self.width :]

    def _block(self, inputs: int, outputs: int, ahead: int) -> ResBlock:
        return ResBlock(inputs, outputs, self.kind, ahead=ahead)

    def _connection(self, width: int, bands: int, blocks: int, ahead: int) -> Chain:
        return Chain([*(self._block(width, width, ahead) for _ in range(blocks)), FrameConv(width, bands)])


def _with(bands: Tensor, low: Tensor) -> Tensor:
    """`low` added to the lowest band."""
    return torch.cat([bands[:, :COLOURS] + low, bands[:, COLOURS:]], dim=1)
