"""Latents of the pictures and videos that prompts refer to."""

from functools import cache, lru_cache

import torch
from torch import Tensor

from vidgen.engine import media
from vidgen.engine.parts import Encoders
from vidgen.engine.reference_files import ReferenceFiles
from vidgen.engine.source_clip import count_frames, read_frames

AT_ONCE = 16  # frames to encode together, about
KEPT = 16  # references
KEPT_IN_PIXELS = 4  # which are larger


class References:
    """Each file is read and encoded once for every size; the last ones are kept."""

    def __init__(self, encoders: Encoders, files: ReferenceFiles) -> None:
        self._encoders, self._files = encoders, files
        self.latents = lru_cache(KEPT)(self._latents)
        self.frames = lru_cache(KEPT_IN_PIXELS)(self._frames)
        self.num_frames = cache(self._num_frames)

    def check(self, name: str) -> None:
        """Raises: UserError, when there is no such file, or it would have to be downloaded and must not be."""
        self._files.check(name)

    def _latents(self, name: str, size: tuple[int, int]) -> Tensor:
        """(C, T, H, W) float32 on the CPU, of the whole file at `size` (rows, columns). Raises: UserError, RunError."""
        with self._files.opened(name) as path:
            pieces = read_frames(path, size, self._piece())
            return torch.cat([self.encode(media.to_unit(frames[None]))[0] for frames in pieces], dim=1)

    def _frames(self, name: str, size: tuple[int, int], start: int, end: int) -> Tensor:
        """Frames `start` to before `end` at `size`, (3, T, H, W) uint8 RGB. Raises: UserError, RunError."""
        with self._files.opened(name) as path:
            return torch.cat(list(read_frames(path, size, AT_ONCE, start, end)), dim=1)

    def _num_frames(self, name: str) -> int:
        """Video frames of the file; 1 of a picture. Raises: UserError, RunError."""
        with self._files.opened(name) as path:
            return count_frames(path)

    @torch.inference_mode()
    def encode(self, video: Tensor) -> Tensor:
        """video: (B, 3, T, H, W) in [-1, 1]. Returns the modes of its latents, (B, C, T, H, W) float32 on the CPU."""
        encoders = self._encoders
        with encoders.parallel.autocast():
            return encoders.vae.encode(video.to(encoders.device)).float().cpu()

    def encode_in_pieces(self, video: Tensor) -> Tensor:
        """As `encode`, of what the autoencoder codes independently some frames at a time, which saves memory."""
        return torch.cat([self.encode(piece) for piece in video.split(self._piece(), dim=2)], dim=2)

    def _piece(self) -> int:
        """Frames that may be encoded without those before and behind: whole chunks, or everything."""
        chunk = self._encoders.vae.chunk
        return 1 << 40 if chunk is None else chunk * max(1, AT_ONCE // chunk)
