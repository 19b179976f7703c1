"""How many frames of a batch are trained on: images and shorter clips among whole ones, drawn by step."""

from collections.abc import Iterable

from attrs import frozen
from torch import Tensor
from vidgen.errors import UserError
from vidgen.interfaces import Autoencoder, Size3
from vidgen.rng import numpy_generator

IMAGES = "mixed_video_image"


@frozen(kw_only=True)
class Mixing:
    """strategy: mixed_video_image, mixed_video_random or None. image_ratio: share of batches cut to one frame by the
    first. The draw of a step is the same on every rank, so that no rank waits for a longer clip of another."""

    strategy: str | None
    image_ratio: float
    seed: int

    def cut(self, video: Tensor, step: int) -> Tensor:
        """The first frames of clips (B, C, T, H, W) that step `step` is trained on."""
        return video[:, :, : self.frames(step, video.shape[2])]

    def frames(self, step: int, total: int) -> int:
        """Frames left of `total` in step `step`."""
        if self.strategy is None:
            return total
        rng = numpy_generator(self.seed, "mixing", step)
        if self.strategy == IMAGES:
            return 1 if rng.random() < self.image_ratio else total
        return int(rng.integers(1, total, endpoint=True))

    def lengths(self, total: int) -> Iterable[int]:
        """Every number of frames that `frames` may return."""
        if self.strategy is None:
            return (total,)
        return (1, total) if self.strategy == IMAGES else range(1, total + 1)


def check_sizes(vae: Autoencoder, name: str, mixing: Mixing, size: Size3) -> None:
    """Refuse clips that the autoencoder does not take, or not wholly, before any is read.

    name: of the autoencoder. size: video (T, H, W) before mixing. Raises: UserError.
    """
    for frames in mixing.lengths(size[0]):
        try:
            _, rows, columns = vae.latent_size((frames, *size[1:]))
        except UserError as error:
            key = f"mixed_strategy: {mixing.strategy} makes" if frames != size[0] else "num_frames:"
            raise UserError(f"{key} clips of {frames} frames, which {name} does not take: {error}") from error
    whole = rows * vae.stride[1], columns * vae.stride[2]
    if whole != size[1:]:
        raise UserError(
            f"image_size: of {size[1]}x{size[2]} pixels {name} keeps {whole[0]}x{whole[1]}, and a reconstruction has "
            f"to be as large as its clip; take multiples of {vae.stride[1]} rows and {vae.stride[2]} columns."
        )
