"""Which video frames stand in which latent frames: the one place that knows of an autoencoder's chunks."""

from collections.abc import Callable

from attrs import frozen

from vidgen.errors import UserError
from vidgen.interfaces import Autoencoder, Size3


@frozen(kw_only=True)
class LatentTime:
    """Time in a clip of `num_frames` video frames. unit: what is counted, in words.

    count: video frames of a clip -> its latent frames. stride: video frames per latent frame. chunk: video frames that
    are coded independently of all others; None: a clip is coded as a whole. Where the first latent frame of a chunk
    (or of a clip without chunks) holds fewer video frames than the others, that follows from the numbers: 17 frames in
    5 latent frames with a stride of 4 are 1 and 4 times 4.
    """

    num_frames: int
    count: Callable[[int], int]
    stride: int
    chunk: int | None
    unit: str = "latent frame"

    @classmethod
    def of(cls, vae: Autoencoder, size: Size3) -> "LatentTime":
        """Of clips of `size`, pixels (T, H, W)."""
        frames, rows, columns = size

        def count(frames: int) -> int:
            return vae.latent_size((frames, rows, columns))[0]

        return cls(num_frames=frames, count=count, stride=vae.stride[0], chunk=vae.chunk)

    @classmethod
    def of_video(cls, num_frames: int) -> "LatentTime":
        """For counting in video frames, as if each were a latent one."""
        return cls(num_frames=num_frames, count=int, stride=1, chunk=1, unit="video frame")

    @property
    def latents(self) -> int:
        """Latent frames of the clip."""
        return self.count(self.num_frames)

    @property
    def align(self) -> int | None:
        """Latent frames of a chunk: what starts are moved to multiples of. None: every latent frame is a start."""
        per_chunk = 1 if self.chunk is None else self.count(self.chunk)
        return per_chunk if per_chunk > 1 else None

    def count_reference(self, name: str, frames: int) -> int:
        """Latent frames of the file `name`, which has so many video frames. Raises: UserError, naming it."""
        try:
            return self.count(frames)
        except UserError as error:
            what = "1 frame" if frames == 1 else f"{frames} frames"
            raise UserError(
                f"reference {name} has {what}, which the autoencoder cannot encode by itself\n    {error}\n"
                "    give a video with a number of frames that it takes; a picture needs one that takes 1 frame"
            ) from error

    def frames_of(self, latents: int) -> int:
        """Video frames in the first `latents` latent frames."""
        if self.chunk is None:
            return max(0, latents * self.stride - self._missing())
        chunks, rest = divmod(latents, self.align or 1)
        return chunks * self.chunk + (rest * self.stride - self._missing() if rest else 0)

    def latents_in(self, frames: int) -> int:
        """Latent frames that the first `frames` video frames fill: the most of which none holds a later one."""
        if self.chunk is None:
            return (frames + self._missing()) // self.stride
        chunks, rest = divmod(frames, self.chunk)
        return chunks * (self.align or 1) + (rest + self._missing()) // self.stride

    def frames_of_chunks(self, latents: int, key: str) -> int:
        """As `frames_of`. Raises: UserError, naming the recipe's `key`, for a number that divides a chunk."""
        align = self.align
        if align and latents % align:
            raise UserError(
                f"{key}: {latents} latent frames divide what the autoencoder codes together, {align} of them "
                f"({self.chunk} video frames)\n    accepted: multiples of {align}, such as {align} or {2 * align}"
            )
        return self.frames_of(latents)

    def _missing(self) -> int:
        """By how many video frames the first latent frame is shorter than the others."""
        frames = self.num_frames if self.chunk is None else self.chunk
        return min(max(0, self.count(frames) * self.stride - frames), self.stride - 1)
