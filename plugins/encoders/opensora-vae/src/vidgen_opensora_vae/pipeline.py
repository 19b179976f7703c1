"""Open-Sora 1.2's autoencoder: an image autoencoder on every frame, then a temporal one on its latents, in pieces.

Letters: B clips, C latent channels, T H W frames/rows/columns (of latents where said), f frames per latent frame.
"""

from collections.abc import Iterator, Sequence

import torch
from attrs import frozen
from torch import Tensor
from vidgen.errors import UserError
from vidgen.interfaces import Size3
from vidgen.rng import Draws
from vidgen_autoencoders.checks import check_latents, check_video
from vidgen_autoencoders.frames import VideoAutoencoderKL
from vidgen_autoencoders.posterior import Posterior
from vidgen_autoencoders.start import StartsLikeTorch
from vidgen_layers.initialise import Fill

from vidgen_opensora_vae.temporal import TemporalAutoencoder

PerChannel = float | Sequence[float]


@frozen(kw_only=True)
class Parts:
    """What encoding goes through, for losses.

    z: latents as drawn, (B, C, T, H, W), before shift and scale. posterior: from which, of all pieces. x_z: latents of
    the single frames, (B, C, video frames, H, W).
    """

    z: Tensor
    posterior: Posterior
    x_z: Tensor


@frozen(kw_only=True)
class Reconstruction:
    """A clip encoded and decoded: `video` (B, 3, T, H, W), `x_z` its frames' latents on the way back, `parts`."""

    video: Tensor
    x_z: Tensor
    parts: Parts


class VideoAutoencoderPipeline(StartsLikeTorch):
    """See `vidgen.interfaces.Autoencoder`.

    A clip is cut into pieces of `micro_frame_size` frames (None: one piece), each encoded, drawn and decoded alone, so
    that memory does not grow with a clip's length. Latents are (z - shift) / scale, numbers or one per channel.
    Everything has gradients. Source: Open-Sora 1.2, report of the release, section "3D-VAE".
    """

    def __init__(
        self,
        spatial_vae: VideoAutoencoderKL,
        temporal_vae: TemporalAutoencoder,
        *,
        micro_frame_size: int | None = None,
        shift: PerChannel = 0.0,
        scale: PerChannel = 1.0,
    ) -> None:
        super().__init__()
        self.spatial_vae, self.temporal_vae = spatial_vae, temporal_vae
        self.micro_frame_size = self.chunk = micro_frame_size
        self.latent_channels = temporal_vae.embed_dim
        self.stride: Size3 = (temporal_vae.factor, *spatial_vae.stride[1:])
        _check_channels(spatial_vae, temporal_vae)
        self._configured = {"scale": scale, "shift": shift}
        self.register_buffer("scale", _per_channel(scale))
        self.register_buffer("shift", _per_channel(shift))
        self.scale: Tensor
        self.shift: Tensor

    def encode(self, video: Tensor, draws: Draws | None = None) -> Tensor:
        """video: (B, 3, T, H, W) in [-1, 1]. Returns latents (B, C, *latent_size) of the video's dtype. With `draws`,
        both posteriors are sampled (purposes `posterior of frames` and `posterior`); without, their modes are taken.

        Raises: UserError for clips smaller than one latent.
        """
        z = self.encode_parts(video, draws).z
        return ((z - self.shift) / self.scale).to(video.dtype)

    def encode_parts(self, video: Tensor, draws: Draws | None = None) -> Parts:
        """As `encode`, before shift and scale, and with what leads there. Raises: UserError."""
        size = check_video(video)
        noises = self._noises(size, draws, video.device)
        pieces = [
            self._encode_piece(piece, *noise)
            for piece, noise in zip(self._pieces(video, self.micro_frame_size), noises, strict=True)
        ]
        return Parts(
            z=torch.cat([piece.z for piece in pieces], dim=2),
            posterior=Posterior(torch.cat([piece.posterior.moments for piece in pieces], dim=2)),
            x_z=torch.cat([piece.x_z for piece in pieces], dim=2),
        )

    def decode(self, latents: Tensor, num_frames: int | None = None) -> Tensor:
        """latents: (B, C, T, H, W). Returns video (B, 3, num_frames, s * H, s * W) of the same dtype; not clamped.

        num_frames: of the clip that the latents stand for. It decides how many of the first frames of each piece are
        dropped; how many come out follows from the latents. Raises: UserError without it.
        """
        return torch.cat(list(self.decode_stream(latents, num_frames)), dim=2)

    def decode_stream(self, latents: Tensor, num_frames: int | None = None) -> Iterator[Tensor]:
        """`decode`, piece by piece in order: (B, 3, t, s * H, s * W) each, in the memory that one takes."""
        check_latents(latents, self.latent_channels)
        for piece, frames in self._latent_pieces(latents, num_frames):
            x_z = self.temporal_vae.decode(piece * self.scale + self.shift, frames)
            yield self.spatial_vae.decode(x_z).to(latents.dtype)

    def decode_parts(self, z: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
        """z: latents before shift and scale, as in `Parts`. Returns the video and, before it, its frames' latents."""
        pieces = [self.temporal_vae.decode(piece, frames) for piece, frames in self._latent_pieces(z, num_frames)]
        x_z = torch.cat(pieces, dim=2).to(z.dtype)
        return self.spatial_vae.decode(x_z), x_z

    def forward(self, video: Tensor, draws: Draws | None = None) -> Reconstruction:
        """A clip there and back, with everything that losses compare. Raises: UserError."""
        parts = self.encode_parts(video, draws)
        decoded, x_z = self.decode_parts(parts.z, video.shape[2])
        return Reconstruction(video=decoded, x_z=x_z, parts=parts)

    @property
    def last_layer(self) -> Tensor:
        """The weight against which an adversarial loss is balanced."""
        return self.temporal_vae.decoder.conv_out.conv.weight

    def latent_size(self, video_size: Size3) -> Size3:
        """Pixels (T, H, W) to latent (T, H, W): the frames of a piece are divided by f and rounded up, rows and columns
        rounded down. Raises: UserError for less than one latent."""
        frames, rows, columns = self.spatial_vae.latent_size(video_size)
        whole = self.temporal_vae.latent_frames
        size = self.micro_frame_size or frames
        return frames // size * whole(size) + whole(frames % size), rows, columns

    def start_value(self, name: str, value: Tensor) -> Fill:
        """Scale and shift begin as configured."""
        if name not in self._configured:
            return super().start_value(name, value)
        configured = _per_channel(self._configured[name])
        return lambda buffer, generator: buffer.copy_(configured)

    def _encode_piece(self, video: Tensor, of_frames: Tensor | None, of_clip: Tensor | None) -> Parts:
        x_z = self.spatial_vae.latents(self.spatial_vae.posterior(video), of_frames)
        posterior = self.temporal_vae.encode(x_z)
        z = posterior.mode() if of_clip is None else posterior.sample(of_clip)
        return Parts(z=z, posterior=posterior, x_z=x_z)

    def _noises(
        self, size: Size3, draws: Draws | None, device: torch.device
    ) -> Iterator[tuple[Tensor | None, Tensor | None]]:
        """For each piece, the noise of its frames and of itself; drawn at once for the whole clip."""
        latent_frames, rows, columns = self.latent_size(size)
        pieces = -(-size[0] // (self.micro_frame_size or size[0]))
        if draws is None:
            return iter([(None, None)] * pieces)
        channels = self.spatial_vae.latent_channels
        of_frames = draws.normal("posterior of frames", (channels, size[0], rows, columns), device=device)
        of_clip = draws.normal("posterior", (self.latent_channels, latent_frames, rows, columns), device=device)
        return zip(
            self._pieces(of_frames, self.micro_frame_size), self._pieces(of_clip, self._micro_latents), strict=True
        )

    def _latent_pieces(self, latents: Tensor, num_frames: int | None) -> Iterator[tuple[Tensor, int]]:
        """Pieces of latents, and how many frames of video each stands for as far as that matters."""
        if num_frames is None:
            raise UserError(
                f"{latents.shape[2]} latent frames stand for clips of several lengths: say num_frames, that of the "
                "clip that was encoded or is to be made"
            )
        step = self.micro_frame_size or num_frames
        for number, piece in enumerate(self._pieces(latents, self._micro_latents)):
            yield piece, min(step, num_frames - number * step)

    def _pieces(self, clip: Tensor, length: int | None) -> tuple[Tensor, ...]:
        return (clip,) if length is None else clip.split(length, dim=2)

    @property
    def _micro_latents(self) -> int | None:
        return None if self.micro_frame_size is None else self.temporal_vae.latent_frames(self.micro_frame_size)


def _per_channel(value: PerChannel) -> Tensor:
    """A number as it is, one per channel as (1, C, 1, 1, 1)."""
    numbers = torch.tensor(value, dtype=torch.float32)
    return numbers[None, :, None, None, None] if numbers.ndim else numbers


def _check_channels(spatial: VideoAutoencoderKL, temporal: TemporalAutoencoder) -> None:
    if spatial.latent_channels != temporal.in_out_channels:
        raise UserError(
            f"vae_2d gives {spatial.latent_channels} channels per frame, but vae_temporal.in_out_channels is "
            f"{temporal.in_out_channels}; make them agree"
        )
