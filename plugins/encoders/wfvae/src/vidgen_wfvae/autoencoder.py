"""WF-VAE: encoder and decoder, in chunks or whole, with the posterior and the scale of latents between them.

Letters: B clips, C latent channels, T H W frames/rows/columns (of latents where said), f frames per latent frame.
"""

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from attrs import frozen
from torch import Tensor, nn
from vidgen.errors import UserError
from vidgen.interfaces import Size3
from vidgen.rng import Draws
from vidgen_autoencoders.checks import check_latents, check_video, floored_size
from vidgen_autoencoders.posterior import Posterior
from vidgen_autoencoders.start import StartsLikeTorch
from vidgen_layers.initialise import Fill

from vidgen_wfvae import NetworkOptions
from vidgen_wfvae.chunks import Chunk, Span, spans
from vidgen_wfvae.decoder import AHEAD, Decoder
from vidgen_wfvae.encoder import Encoder
from vidgen_wfvae.wavelets import filter_named

SIDE = 8
PerChannel = float | tuple[float, ...]


@frozen(kw_only=True)
class Tiling:
    """Frames per chunk after the first frame. encoder: in pairs of video frames; decoder: in latent frames."""

    encoder: int
    decoder: int


@frozen(kw_only=True)
class Parts:
    """What encoding goes through, for losses.

    z: latents as drawn, (B, C, T, H, W), before shift and scale. posterior: from which. x_z: what the part that works
    along time was given; here, where no other comes before it, the video.
    """

    z: Tensor
    posterior: Posterior
    x_z: Tensor


class WFVAE(StartsLikeTorch):
    """See `vidgen.interfaces.Autoencoder`.

    tiling: go through clips in chunks; exact with layer norm. None: each as a whole. micro_batch_size: clips at a time.
    Everything has gradients. Source: arXiv 2411.17459; Open-Sora-Plan 1.3.
    """

    chunk: int | None = None  # frames depend on all before them

    def __init__(
        self, options: NetworkOptions, *, tiling: Tiling | None = None, micro_batch_size: int | None = None
    ) -> None:
        super().__init__()
        self.tiling, self.micro_batch_size = tiling, micro_batch_size
        self.latent_channels = options.latent_dim
        self.stride: Size3 = (options.frames_per_latent(), SIDE, SIDE)
        self.encoder, self.decoder = Encoder(options), Decoder(options)
        self._statistics = {"scale": options.scale, "shift": options.shift}
        for name, table in self.tables().items():
            self.register_buffer(name, table.to(torch.get_default_device()), persistent=False)
        self.scale: Tensor
        self.shift: Tensor

    def encode(self, video: Tensor, draws: Draws | None = None) -> Tensor:
        """video: (B, 3, T, H, W) in [-1, 1]. Returns latents (B, C, *latent_size) of the video's dtype, shifted and
        scaled: a draw (purpose `posterior`), or without `draws` the mode.

        Raises: UserError, for a number of frames that does not come back when decoded, and less than one latent.
        """
        self.latent_size(check_video(video))
        return self.latents(self._drawn(self.posterior(video), draws)).to(video.dtype)

    def encode_parts(self, video: Tensor, draws: Draws | None = None) -> Parts:
        """As `encode`, before shift and scale, and with what leads there. Raises: UserError."""
        self.latent_size(check_video(video))
        posterior = self.posterior(video)
        return Parts(z=self._drawn(posterior, draws), posterior=posterior, x_z=video)

    def posterior(self, video: Tensor) -> Posterior:
        """What `encode` draws from, before shift and scale. Takes any number of frames: each halving makes
        (n + 1) // 2 of n. Raises: UserError, for less than one latent."""
        floored_size(check_video(video), SIDE)
        return Posterior(self._in_groups(self._moments, video))

    def latents(self, z: Tensor) -> Tensor:
        """Of a draw, or the mode, of the posterior: shifted and scaled."""
        return (z - self.shift) * self.scale

    def decode(self, latents: Tensor, num_frames: int | None = None) -> Tensor:
        """latents: (B, C, T, H, W). Returns video (B, 3, f (T - 1) + 1, 8H, 8W) of the same dtype; not clamped.

        num_frames: follows from the latents; when given, it must agree. Raises: UserError.
        """
        self._check(latents, num_frames)
        return self.decode_draws(latents / self.scale + self.shift)

    def decode_stream(self, latents: Tensor, num_frames: int | None = None) -> Iterator[Tensor]:
        """`decode` by chunks, in order, (B, 3, t, 8H, 8W) each, in the memory that one takes. Raises: UserError."""
        self._check(latents, num_frames)
        yield from self._pixels(latents / self.scale + self.shift)

    def decode_draws(self, z: Tensor) -> Tensor:
        """`decode` of latents as the posterior gives them, neither shifted nor scaled."""
        return self._in_groups(lambda group: torch.cat(list(self._pixels(group)), dim=2), z)

    def decode_parts(self, z: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
        """z: latents before shift and scale, as in `Parts`. Returns the video, twice: there is nothing between."""
        self._check(z, num_frames)
        video = self.decode_draws(z)
        return video, video

    @property
    def last_layer(self) -> nn.Parameter:
        """The weight against which an adversarial loss is balanced."""
        weight: nn.Parameter = cast(Any, self.decoder.conv_out.weight)  # torch says Tensor
        return weight

    def latent_size(self, video_size: Size3) -> Size3:
        """Pixels (T, H, W) to latent ((T - 1) / f + 1, H // 8, W // 8). Raises: UserError, unless f divides T - 1,
        naming the nearest, and for less than one latent."""
        frames, rows, columns = floored_size(video_size, SIDE)
        step = self.stride[0]
        if (frames - 1) % step:
            below = (frames - 1) // step * step + 1
            raise UserError(
                f"this autoencoder makes one latent frame of the first frame and one of every {step} further ones; "
                f"given {frames} frames. Set num_frames to {below} or {below + step}."
            )
        return (frames - 1) // step + 1, rows, columns

    def start_value(self, name: str, value: Tensor) -> Fill:
        """Filters begin, and stay, as they are defined."""
        filters = filter_named(name)
        if filters is None:
            return super().start_value(name, value)
        return lambda entry, generator: entry.copy_(filters)

    def tables(self) -> dict[str, Tensor]:
        """Scale and shift; published files do not hold them."""
        return {name: _per_channel(value) for name, value in self._statistics.items()}

    def _check(self, latents: Tensor, num_frames: int | None) -> None:
        check_latents(latents, self.latent_channels)
        frames = (latents.shape[2] - 1) * self.stride[0] + 1
        if num_frames not in (None, frames):
            raise UserError(f"{latents.shape[2]} latent frames hold {frames} frames of video, not {num_frames}")

    def _drawn(self, posterior: Posterior, draws: Draws | None) -> Tensor:
        if draws is None:
            return posterior.mode()
        mean = posterior.mean
        return posterior.sample(draws.normal("posterior", mean.shape[1:], device=mean.device))

    def _in_groups(self, run: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
        """`run` in the network's dtype, on as many clips at a time as the options allow; of the clips' dtype again."""
        groups = clips.to(self.last_layer.dtype).split(self.micro_batch_size or len(clips))
        return torch.cat([run(group) for group in groups]).to(clips.dtype)

    def _moments(self, video: Tensor) -> Tensor:
        """Of chunk [s, e) of pairs of frames, the first pair being one frame twice: video frames 2s - 1 to 2e - 1."""
        if self.tiling is None:
            return self.encoder(video, Chunk())
        memory: dict[nn.Module, Tensor] = {}
        parts = self._encoder_spans((video.shape[2] + 1) // 2, self.tiling.encoder)
        chunks = [
            self.encoder(
                video[:, :, max(2 * start - 1, 0) : 2 * end - 1],
                Chunk(first=start == 0, last=end == parts[-1][1], memory=memory),
            )
            for start, end in parts
        ]
        return torch.cat(chunks, dim=2)

    def _encoder_spans(self, pairs: int, step: int) -> list[Span]:
        """Without a last chunk too short for a latent, of which the whole makes nothing either."""
        return [(start, end) for start, end in spans(pairs, step) if start == 0 or end - start >= self.stride[0] // 2]

    def _pixels(self, z: Tensor) -> Iterator[Tensor]:
        if self.tiling is None:
            yield self.decoder(z, Chunk())
            return
        memory: dict[nn.Module, Tensor] = {}
        for start, end in spans(z.shape[2], self.tiling.decoder):
            last = end == z.shape[2]
            seen = z[:, :, start : end if last else end + AHEAD]
            yield self.decoder(seen, Chunk(first=start == 0, last=last, memory=memory))


def _per_channel(value: PerChannel) -> Tensor:
    """A number as it is, one per channel as (1, C, 1, 1, 1)."""
    numbers = torch.tensor(value, dtype=torch.float32, device="cpu")
    return numbers[None, :, None, None, None] if numbers.ndim else numbers
