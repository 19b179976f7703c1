"""Sizes of clips and latents that have to fit, with messages for people.

Letters: B clips, C channels, T H W frames/rows/columns.
"""

from torch import Tensor
from vidgen.errors import UserError
from vidgen.interfaces import Size3


def check_video(video: Tensor) -> Size3:
    """(B, 3, T, H, W) to its (T, H, W). Raises: UserError."""
    if video.ndim != 5 or video.shape[1] != 3:
        raise UserError(f"the autoencoder encodes video of shape (B, 3, T, H, W); given {tuple(video.shape)}")
    return video.shape[2], video.shape[3], video.shape[4]


def check_latents(latents: Tensor, channels: int) -> None:
    """Latents have to be (B, channels, T, H, W), none of them 0. Raises: UserError."""
    if latents.ndim != 5 or latents.shape[1] != channels or 0 in latents.shape[2:]:
        raise UserError(
            f"the autoencoder decodes latents of shape (B, {channels}, T, H, W); given {tuple(latents.shape)}"
        )


def check_num_frames(num_frames: int | None, latent_frames: int) -> None:
    """Where every latent frame is one of video, `num_frames` has to say the same. Raises: UserError."""
    if num_frames not in (None, latent_frames):
        raise UserError(f"{latent_frames} latent frames hold {latent_frames} frames of video, not {num_frames}")


def floored_size(video_size: Size3, stride: int) -> Size3:
    """Pixels (T, H, W) to latent (T, H // stride, W // stride): rows and columns that fill no latent are left out.

    Raises: UserError, when nothing is left, naming the smallest size.
    """
    frames, rows, columns = video_size
    wrong = [
        f"{axis}: {size} (smallest: {stride})" for axis, size in (("rows", rows), ("columns", columns)) if size < stride
    ]
    wrong = [*([] if frames >= 1 else [f"frames: {frames} (smallest: 1)"]), *wrong]
    if wrong:
        raise UserError(
            f"one latent of this autoencoder stands for {stride}x{stride} pixels, and the clip has fewer; given "
            f"{'; '.join(wrong)}. Change num_frames or image_size."
        )
    return frames, rows // stride, columns // stride
