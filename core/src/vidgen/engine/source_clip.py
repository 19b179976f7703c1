"""Pictures and videos given to a run, at the size it works in: read piece by piece, so that length costs no memory."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from vidgen.errors import RunError

STILLS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
TURNS = {0: 0, 90: 1, 180: 2, 270: 3}  # degrees counter-clockwise, as FFmpeg's display matrix says

Size2 = tuple[int, int]


def read_frames(path: Path, size: Size2, piece: int, start: int = 0, end: int | None = None) -> Iterator[Tensor]:
    """Frames in order, (3, t, *size) uint8 RGB, `piece` at a time and the rest in the last: made upright, scaled until
    they cover `size` (rows, columns), the centre cut out. A picture gives one frame.

    start, end: the first one that is wanted, and the one behind the last.

    Raises: RunError, when the file cannot be read or holds no frame.
    """
    waiting: list[Tensor] = []
    empty = True
    for picture in islice(pictures(path), start, end):
        waiting.append(covering(picture, size))
        empty = False
        if len(waiting) == piece:
            yield torch.stack(waiting, dim=1)
            waiting = []
    if empty:
        raise RunError(f"{path} holds no frame{f' {start}' if start else ''}")
    if waiting:
        yield torch.stack(waiting, dim=1)


def count_frames(path: Path) -> int:
    """Frames that `read_frames` gives. Raises: RunError, when the file cannot be read."""
    if path.suffix.lower() in STILLS:
        return 1
    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
            return sum(1 for _ in container.decode(video=0)) if container.streams.video else 0
    except (OSError, ValueError, av.FFmpegError) as error:
        raise RunError(f"{path} cannot be read as a video ({error})") from error


def pictures(path: Path) -> Iterator[np.ndarray]:
    """Of a picture or a video, upright, (H, W, 3) uint8 RGB. Raises: RunError, when the file cannot be read."""
    try:
        yield from still_pictures(path) if path.suffix.lower() in STILLS else video_pictures(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, av.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{path} cannot be read as a picture or video ({reason})") from error


def still_pictures(path: Path) -> Iterator[np.ndarray]:
    """The one picture of a file, upright, (H, W, 3) uint8 RGB. Raises: what Pillow does."""
    with Image.open(path) as image:
        yield np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def video_pictures(path: Path) -> Iterator[np.ndarray]:
    """All frames of a video, upright, (H, W, 3) uint8 RGB. Raises: what PyAV does; RunError, without a video stream."""
    with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
        if not container.streams.video:
            raise RunError(f"{path} has no video stream")
        turn: int | None = None
        for frame in container.decode(video=0):
            turn = TURNS.get(round(frame.rotation) % 360, 0) if turn is None else turn
            yield np.rot90(frame.to_ndarray(format="rgb24"), turn)


def covering(pixels: np.ndarray, size: Size2) -> Tensor:
    """(H, W, 3) to (3, *size), uint8: scaled until it covers, the centre cut out."""
    frame = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    scale = max(new / old for new, old in zip(size, frame.shape[1:], strict=True))
    scaled = [max(round(old * scale), new) for new, old in zip(size, frame.shape[1:], strict=True)]
    if scaled != list(frame.shape[1:]):
        large = interpolate(frame[None].float(), scaled, mode="bilinear", antialias=True)[0]
        frame = large.add(0.5).clamp(0, 255).to(torch.uint8)
    return centre(frame, size)


def centre(frames: Tensor, size: Size2) -> Tensor:
    """(..., H, W) to (..., *size), as much cut off on both sides."""
    top, left = ((old - new) // 2 for old, new in zip(frames.shape[-2:], size, strict=True))
    return frames[..., top : top + size[0], left : left + size[1]]
