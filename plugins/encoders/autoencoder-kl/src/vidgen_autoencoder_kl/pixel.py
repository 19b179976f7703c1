"""Pixels as latents: blocks of pixels moved into channels, and back, bit for bit."""

from einops import rearrange
from torch import Tensor, nn
from vidgen.errors import UserError
from vidgen.interfaces import Context, Size3
from vidgen.rng import Draws

from vidgen_autoencoder_kl import PixelOptions

AXES = ("frames", "rows", "columns")


class PixelAutoencoder(nn.Module):
    """See `vidgen.interfaces.Autoencoder`. Values are moved, never computed with, so they keep their dtype."""

    def __init__(self, patch: Size3) -> None:
        super().__init__()
        self.stride = patch
        self.chunk = patch[0]
        self.latent_channels = 3 * patch[0] * patch[1] * patch[2]

    def encode(self, video: Tensor, draws: Draws | None = None) -> Tensor:
        """video: (B, 3, T, H, W) in [-1, 1]. Returns (B, 3 * pt * ph * pw, T / pt, H / ph, W / pw), colour first.

        draws: not needed, there is no posterior. Raises: UserError for sizes that the patch does not divide.
        """
        if video.dim() != 5 or video.shape[1] != 3:
            raise UserError(f"pixel encodes video of shape (B, 3, T, H, W), given {tuple(video.shape)}.")
        self.latent_size((video.shape[2], video.shape[3], video.shape[4]))
        pt, ph, pw = self.stride
        return rearrange(video, "b c (t pt) (h ph) (w pw) -> b (c pt ph pw) t h w", pt=pt, ph=ph, pw=pw)

    def decode(self, latents: Tensor, num_frames: int | None = None) -> Tensor:
        """latents: (B, 3 * pt * ph * pw, T, H, W). Returns (B, 3, T * pt, H * ph, W * pw), the inverse of `encode`.

        num_frames: follows from the latents; when given, it must agree. Raises: UserError.
        """
        pt, ph, pw = self.stride
        if latents.dim() != 5 or latents.shape[1] != self.latent_channels:
            raise UserError(
                f"pixel decodes latents of shape (B, {self.latent_channels}, T, H, W), given {tuple(latents.shape)}."
            )
        if num_frames is not None and num_frames != latents.shape[2] * pt:
            raise UserError(f"{latents.shape[2]} latent frames hold {latents.shape[2] * pt} frames, not {num_frames}.")
        return rearrange(latents, "b (c pt ph pw) t h w -> b c (t pt) (h ph) (w pw)", pt=pt, ph=ph, pw=pw)

    def latent_size(self, video_size: Size3) -> Size3:
        """Pixels (T, H, W) to latent (T, H, W). Raises: UserError, naming the nearest sizes that divide."""
        wrong = [
            f"{axis}: {size} (nearest: {_nearest(size, step)})"
            for axis, size, step in zip(AXES, video_size, self.stride, strict=True)
            if size < 1 or size % step
        ]
        if wrong:
            raise UserError(
                f"pixel with patch {list(self.stride)} needs frames, rows and columns that are multiples of it; "
                f"given {'; '.join(wrong)}. Change num_frames or image_size, or the patch."
            )
        frames, rows, columns = (size // step for size, step in zip(video_size, self.stride, strict=True))
        return frames, rows, columns


def build(options: PixelOptions, context: Context) -> PixelAutoencoder:
    """The autoencoder; nothing of the run matters to it."""
    return PixelAutoencoder(options.patch)


def _nearest(size: int, step: int) -> str:
    below = size // step * step
    return f"{below} or {below + step}" if below > 0 else str(step)
