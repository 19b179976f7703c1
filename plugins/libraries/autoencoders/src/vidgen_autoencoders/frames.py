"""An image autoencoder of diffusers, applied to every frame on its own.

Letters: B clips, C latent channels, T H W frames/rows/columns (of latents where said), N frames of all clips.
"""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from vidgen.interfaces import Size3
from vidgen.rng import Draws

from vidgen_autoencoders.checks import check_latents, check_num_frames, check_video, floored_size
from vidgen_autoencoders.options import SCALING_FACTOR
from vidgen_autoencoders.posterior import Posterior
from vidgen_autoencoders.start import StartsLikeTorch
from vidgen_autoencoders.tiles import decode_tiled, encode_tiled, tiles_for
from vidgen_autoencoders.upsample import with_fast_doubling

LIVE = 5.25
"""Feature maps of full size, as wide as the widest, that exist at once at the worst moment; counted."""
MEGABYTE = 2**20


class VideoAutoencoderKL(StartsLikeTorch):
    """See `vidgen.interfaces.Autoencoder`. One latent frame is one frame of video.

    module: a diffusers.AutoencoderKL, of which the entries have the prefix `module.`. The other arguments are those of
    `vidgen_autoencoders.options.FrameOptions`. Everything has gradients.
    Source: arXiv 2112.10752, section 3.1; Open-Sora 1.0.
    """

    def __init__(
        self,
        module: Any,  # diffusers has no types
        *,
        scaling_factor: float = SCALING_FACTOR,
        micro_batch_size: int | None = None,
        memory_limit_mb: int | None = None,
        tile_size: int | None = None,
        tile_overlap: float = 0.25,
    ) -> None:
        super().__init__()
        self.module = module
        self.scaling_factor = scaling_factor
        self.micro_batch_size, self.memory_limit_mb = micro_batch_size, memory_limit_mb
        self.widths: tuple[int, ...] = tuple(module.config["block_out_channels"])
        self.latent_channels: int = module.config["latent_channels"]
        side = 2 ** (len(self.widths) - 1)
        self.stride: Size3 = (1, side, side)
        self.chunk: int | None = 1
        self.tiles = tiles_for(tile_size, tile_overlap, side)
        with_fast_doubling(module.decoder)

    def encode(self, video: Tensor, draws: Draws | None = None) -> Tensor:
        """video: (B, 3, T, H, W) in [-1, 1]. Returns latents (B, C, T, H // s, W // s) for a stride of s, of the
        video's dtype, times `scaling_factor`: a draw (purpose `posterior`), or without `draws` the mode.

        Raises: UserError for clips smaller than one latent.
        """
        posterior = self.posterior(video)
        noise = None if draws is None else draws.normal("posterior", posterior.mean.shape[1:], device=video.device)
        return self.latents(posterior, noise).to(video.dtype)

    def posterior(self, video: Tensor) -> Posterior:
        """What `encode` draws from, over (B, C, T, H, W) before `scaling_factor`. Raises: UserError."""
        self.latent_size(check_video(video))
        moments = self._in_groups(self._moments, rearrange(video, "b c t h w -> (b t) c h w"), self.widths[0])
        return Posterior(rearrange(moments, "(b t) c h w -> b c t h w", b=len(video)))

    def latents(self, posterior: Posterior, noise: Tensor | None) -> Tensor:
        """A draw of the posterior, or without `noise` its mode, times `scaling_factor`."""
        return (posterior.mode() if noise is None else posterior.sample(noise)) * self.scaling_factor

    def decode(self, latents: Tensor, num_frames: int | None = None) -> Tensor:
        """latents: (B, C, T, H, W). Returns video (B, 3, T, s * H, s * W) of the same dtype; not clamped.

        num_frames: follows from the latents; when given, it must agree. Raises: UserError.
        """
        check_latents(latents, self.latent_channels)
        check_num_frames(num_frames, latents.shape[2])
        frames = rearrange(latents / self.scaling_factor, "b c t h w -> (b t) c h w")
        decoded = self._in_groups(self._pixels, frames, max(self.widths[:2]), scale=self.stride[1])
        return rearrange(decoded, "(b t) c h w -> b c t h w", b=len(latents)).to(latents.dtype)

    def latent_size(self, video_size: Size3) -> Size3:
        """Pixels (T, H, W) to latent (T, H // s, W // s). Raises: UserError for less than one latent."""
        return floored_size(video_size, self.stride[1])

    def _in_groups(self, run: Callable[[Tensor], Tensor], frames: Tensor, width: int, scale: int = 1) -> Tensor:
        """`run` on the frames (N, ...) in the network's dtype, as many at a time as the options allow. width: channels
        of the widest map at full size, which has `scale` times the rows and columns of what comes in."""
        frames = frames.to(self.module.encoder.conv_in.weight.dtype)
        size = self._group_size(frames, width, scale)
        return run(frames) if size >= len(frames) else torch.cat([run(group) for group in frames.split(size)])

    def _group_size(self, frames: Tensor, width: int, scale: int) -> int:
        most = len(frames) if self.micro_batch_size is None else self.micro_batch_size
        if self.memory_limit_mb is None:
            return most
        side = float("inf") if self.tiles is None else self.tiles.size * self.stride[1]
        rows, columns = (min(length * scale, side) for length in frames.shape[2:])
        one = LIVE * width * rows * columns * frames.element_size()
        return min(most, max(int(self.memory_limit_mb * MEGABYTE / one), 1))

    def _moments(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 2C, H // s, W // s)."""
        return encode_tiled(self._moments_of_tile, frames, self.tiles, self.stride[1])

    def _moments_of_tile(self, frames: Tensor) -> Tensor:
        encoded = self.module.encoder(frames)
        return encoded if self.module.quant_conv is None else self.module.quant_conv(encoded)

    def _pixels(self, latents: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 3, s * H, s * W)."""
        return decode_tiled(self._pixels_of_tile, latents, self.tiles, self.stride[1])

    def _pixels_of_tile(self, latents: Tensor) -> Tensor:
        post = self.module.post_quant_conv
        return self.module.decoder(latents if post is None else post(latents))
