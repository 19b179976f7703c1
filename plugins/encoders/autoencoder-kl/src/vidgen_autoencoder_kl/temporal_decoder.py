"""Stable Video Diffusion's decoder: an image decoder whose layers also see the frames before and after.

Letters: B clips, C latent channels, T H W latent frames/rows/columns.
"""

from typing import Any, NoReturn

import torch
from diffusers import AutoencoderKLTemporalDecoder
from torch import Tensor
from vidgen.errors import UserError
from vidgen.interfaces import Context, Size3
from vidgen.rng import Draws
from vidgen_autoencoders.checks import check_latents, check_num_frames, floored_size
from vidgen_autoencoders.network import DTYPES, load, network_of, place_of, start, to_module
from vidgen_autoencoders.options import SCALING_FACTOR
from vidgen_autoencoders.start import StartsLikeTorch
from vidgen_autoencoders.tiles import decode_tiled, tiles_for
from vidgen_autoencoders.upsample import with_fast_doubling

from vidgen_autoencoder_kl import TemporalDecoderOptions


class VideoAutoencoderKLTemporalDecoder(StartsLikeTorch):
    """See `vidgen.interfaces.Autoencoder`; but it only decodes. One latent frame is one frame of video.

    module: a diffusers.AutoencoderKLTemporalDecoder, of which the entries have the prefix `module.`; its encoder is
    never run. The other arguments are those of `vidgen_autoencoder_kl.TemporalDecoderOptions`.
    Source: arXiv 2311.15127, section 3 (decoder fine-tuned on video); Open-Sora 1.2.
    """

    def __init__(
        self,
        module: Any,  # diffusers has no types
        *,
        scaling_factor: float = SCALING_FACTOR,
        tile_size: int | None = None,
        tile_overlap: float = 0.25,
    ) -> None:
        super().__init__()
        self.module = module
        self.scaling_factor = scaling_factor
        side = 2 ** (len(module.config["block_out_channels"]) - 1)
        self.stride: Size3 = (1, side, side)
        self.chunk: int | None = None  # the decoder looks along time
        self.tiles = tiles_for(tile_size, tile_overlap, side)
        self.latent_channels: int = module.config["latent_channels"]
        with_fast_doubling(module.decoder)

    def encode(self, video: Tensor, draws: Draws | None = None) -> NoReturn:
        """Raises: UserError, always."""
        raise UserError(
            "VideoAutoencoderKLTemporalDecoder decodes only: its encoder is not part of it, as in Open-Sora. Encode "
            "with VideoAutoencoderKL, such as stabilityai/sd-vae-ft-ema, whose latents it decodes."
        )

    def decode(self, latents: Tensor, num_frames: int | None = None) -> Tensor:
        """latents: (B, C, T, H, W). Returns video (B, 3, T, s * H, s * W) of the same dtype, for a stride of s; not
        clamped. Clips are decoded one by one, each as a whole: its frames depend on one another.

        num_frames: follows from the latents; when given, it must agree. Raises: UserError.
        """
        check_latents(latents, self.latent_channels)
        check_num_frames(num_frames, latents.shape[2])
        dtype = self.module.decoder.conv_in.weight.dtype
        clips = (latents / self.scaling_factor).to(dtype).transpose(1, 2)  # (B, T, C, H, W)
        videos = [decode_tiled(self._decode_clip, clip, self.tiles, self.stride[1]) for clip in clips]
        return torch.stack(videos).transpose(1, 2).to(latents.dtype)

    def latent_size(self, video_size: Size3) -> Size3:
        """Pixels (T, H, W) to latent (T, H // s, W // s). Raises: UserError for less than one latent."""
        return floored_size(video_size, self.stride[1])

    def _decode_clip(self, frames: Tensor) -> Tensor:
        """(T, C, H, W) -> (T, 3, s * H, s * W)."""
        images = frames.new_zeros(1, len(frames))  # none of the frames is a still image
        return self.module.decoder(frames, num_frames=len(frames), image_only_indicator=images)


def build(options: TemporalDecoderOptions, context: Context) -> VideoAutoencoderKLTemporalDecoder:
    """The decoder with its weights or start values. Raises: UserError, when weights are not found or do not fit;
    RunError, when a file is damaged."""
    device, place = torch.get_default_device(), place_of(options, context)
    with torch.device("meta"):
        network = VideoAutoencoderKLTemporalDecoder(
            network_of(AutoencoderKLTemporalDecoder, options, place),
            scaling_factor=options.scaling_factor,
            tile_size=options.tile_size,
            tile_overlap=options.tile_overlap,
        )
    network.to("meta", DTYPES[options.dtype])  # diffusers makes the mixing factors on the CPU, wherever told
    load(network, place, context, device, to_module)
    start(network, context, device)
    return network
