"""Clips to files and back: H.264 in mp4, PNG for a single frame; whole or not at all, with where they came from."""

import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from vidgen.errors import RunError

QUALITY = "12"  # x264's constant rate factor: visually lossless also for small, saturated clips
COMMENT = "vidgen"
JPEG_QUALITY = 95


def to_pixels(video: Tensor) -> Tensor:
    """Decoded video in [-1, 1] to uint8: clamped, scaled to 0..255, rounded by adding 0.5."""
    return video.clamp(-1, 1).add(1).mul(127.5).add(0.5).clamp(max=255).to(torch.uint8)


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 RGB to float32 in [-1, 1]."""
    return pixels.float().div(127.5).sub(1)


def write(path: Path, video: Tensor, fps: float, provenance: Mapping[str, Any], upscale: int = 1) -> Path:
    """Write a clip, (3, T, H, W) uint8, to `path` with the suffix that its frame count asks for.

    fps: frames per second. provenance: kept in the file's metadata as JSON. upscale: enlarge by nearest neighbour.
    Returns the path written. Raises: RunError, with nothing left under the final name.
    """
    path = final_path(path, video.shape[1])
    with ClipFile(path, fps=fps, provenance=provenance, upscale=upscale) as file:
        file.append(video)
    return path


class ClipFile:
    """A file in the making, as a context manager: under its final name only when whole, and never by half.

    path: with the suffix of a video (.mp4) or a picture (.png, .jpg, of one frame). The other arguments are those of
    `write`.
    """

    def __init__(self, path: Path, *, fps: float, provenance: Mapping[str, Any], upscale: int = 1) -> None:
        self.path, self._fps, self._provenance, self._upscale = path, fps, provenance, upscale
        self._partial = path.with_name(f".{path.name}")
        self._file: _Mp4 | None = None

    def __enter__(self) -> "ClipFile":
        with self._told():
            self.path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def append(self, video: Tensor) -> None:
        """Further frames, (3, T, H, W) uint8. Raises: RunError."""
        frames = video.permute(1, 2, 3, 0).numpy().repeat(self._upscale, axis=1).repeat(self._upscale, axis=2)
        with self._told():
            if self.path.suffix != ".mp4":
                _write_picture(self._partial, frames[0], self._provenance)
                return
            if self._file is None:
                self._file = _Mp4(self._partial, frames.shape[1:3], self._fps, self._provenance)
            self._file.append(frames)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        try:
            with self._told():
                if self._file is not None:
                    self._file.close()
                if kind is None:
                    self._partial.replace(self.path)
        except RunError:
            if kind is None:  # else what went wrong first is told
                raise
        finally:
            self._partial.unlink(missing_ok=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, av.FFmpegError) as error:
            raise RunError(f"{self.path} could not be written ({error}). Files written before are whole.") from error


def final_path(path: Path, num_frames: int, picture: str = "png") -> Path:
    """`path` with .mp4, or of one frame .png (or another `picture`)."""
    return path.with_name(path.name + (f".{picture}" if num_frames == 1 else ".mp4"))


def read(path: Path, upscale: int = 1, size: tuple[int, int] | None = None) -> Tensor:
    """A written clip as (3, T, H, W) uint8, enlargement undone, cut to `size` (rows, columns) where an odd one was
    padded. Raises: RunError."""
    found = list(frames(path))
    if not found:
        raise RunError(f"{path} holds no frame")
    half = upscale // 2
    whole = np.stack(found)[:, half::upscale, half::upscale]
    rows, columns = size or whole.shape[1:3]
    return torch.from_numpy(whole[:, :rows, :columns].copy()).permute(3, 0, 1, 2)


def frames(path: Path) -> Generator[np.ndarray, None, None]:
    """The frames of a written clip one by one, (H, W, 3) uint8. Raises: RunError."""
    with _readable(path):
        if path.suffix != ".mp4":
            yield np.array(Image.open(path).convert("RGB"))
            return
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")


def frame_rate(path: Path) -> float:
    """Frames per second of a written clip; 1 of a picture. Raises: RunError."""
    if path.suffix != ".mp4":
        return 1.0
    with _readable(path), av.open(str(path)) as container:
        return float(container.streams.video[0].average_rate or 1)


def provenance(path: Path) -> dict[str, Any]:
    """What `write` kept in the file's metadata; empty for a file of other origin."""
    try:
        if path.suffix != ".mp4":
            known = Image.open(path).info
            return json.loads(known.get(COMMENT) or known.get("comment") or "{}")
        with av.open(str(path)) as container:
            return json.loads(container.metadata.get("comment", "{}"))
    except (OSError, ValueError, av.FFmpegError):
        return {}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, av.FFmpegError) as error:
        raise RunError(f"{path} cannot be read ({error})") from error


def _write_picture(path: Path, frame: np.ndarray, provenance: Mapping[str, Any]) -> None:
    if path.suffix != ".png":
        Image.fromarray(frame).save(path, quality=JPEG_QUALITY, comment=json.dumps(provenance))
        return
    text = PngImagePlugin.PngInfo()
    text.add_text(COMMENT, json.dumps(provenance))
    Image.fromarray(frame).save(path, format="PNG", pnginfo=text)


class _Mp4:
    """size: rows and columns of the frames to come. yuv420p, the one format every player knows, needs even ones: the
    last row or column is repeated."""

    def __init__(self, path: Path, size: tuple[int, ...], fps: float, provenance: Mapping[str, Any]) -> None:
        self._padding = ((0, 0), (0, size[0] % 2), (0, size[1] % 2), (0, 0))
        self._container = av.open(str(path), "w", format="mp4")
        self._container.metadata["comment"] = json.dumps(provenance)
        self._stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        self._stream.height, self._stream.width = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": QUALITY, "preset": "veryfast"}

    def append(self, frames: np.ndarray) -> None:
        for frame in np.pad(frames, self._padding, mode="edge"):
            self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode())
        finally:
            self._container.close()
