"""Latents of the pictures and videos that prompts refer to."""

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from vidgen.engine import media
from vidgen.engine.download import Limits, downloaded, is_address
from vidgen.engine.parts import Encoders
from vidgen.engine.source_clip import count_frames, read_frames
from vidgen.errors import UserError

AT_ONCE = 16  # frames to encode together, about
KEPT = 16  # references


class References:
    """Each file is read and encoded once for every size; the last ones are kept.

    folders: where a path is looked for, one after the other. limits: of what is downloaded; None: nothing is.
    """

    def __init__(self, encoders: Encoders, *, folders: tuple[Path, ...], limits: Limits | None) -> None:
        self._encoders, self._folders, self._limits = encoders, folders, limits
        self.latents = lru_cache(KEPT)(self._latents)
        self.frames = lru_cache(KEPT)(self._frames)
        self.num_frames = lru_cache(KEPT)(self._num_frames)

    def check(self, name: str) -> None:
        """Raises: UserError, when there is no such file, or it would have to be downloaded and must not be."""
        if not is_address(name):
            self._find(name)
        elif self._limits is None:
            raise UserError(f"reference {name} lies on another machine: set allow_download: true, or give a file")

    def _latents(self, name: str, size: tuple[int, int]) -> Tensor:
        """(C, T, H, W) float32 on the CPU, of the whole file at `size` (rows, columns). Raises: UserError, RunError."""
        with self._source(name) as path:
            pieces = read_frames(path, size, self._piece())
            return torch.cat([self.encode(media.to_unit(frames[None]))[0] for frames in pieces], dim=1)

    def _frames(self, name: str, size: tuple[int, int], start: int, end: int) -> Tensor:
        """Frames `start` to before `end` at `size`, (3, T, H, W) in [-1, 1] on the CPU. Raises: UserError, RunError."""
        with self._source(name) as path:
            return media.to_unit(torch.cat(list(read_frames(path, size, AT_ONCE, start, end)), dim=1))

    def _num_frames(self, name: str) -> int:
        """Video frames of the file; 1 of a picture. Raises: UserError, RunError."""
        with self._source(name) as path:
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

    def _source(self, name: str) -> AbstractContextManager[Path]:
        self.check(name)
        return downloaded(name, self._limits) if self._limits and is_address(name) else nullcontext(self._find(name))

    def _piece(self) -> int:
        """Frames that may be encoded without those before and behind: whole chunks, or everything."""
        chunk = self._encoders.vae.chunk
        return 1 << 40 if chunk is None else chunk * max(1, AT_ONCE // chunk)

    def _find(self, name: str) -> Path:
        path = Path(name).expanduser()
        places = list(dict.fromkeys([path, *(folder / path for folder in self._folders)]))
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise UserError(f"reference {name}: no such file (looked for {' and '.join(map(str, places))})")
        return found
