"""Frames of videos and images at full size, or a part of them."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor
from vidgen.errors import RunError
from vidgen_video.fit import Fit
from vidgen_video.reader import Reader, Unreadable
from vidgen_video.window import TooShort

from vidgen_opensora_plan_data.sizes import Box, Size

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class _Outside(Exception):
    """A part reaches beyond the frame."""


def read_video(reader: Reader, path: Path, indices: NDArray[np.int64], part: Box | None, where: str) -> Tensor:
    """Frames `indices` of a video, rising, or a part of each: (3, T, H, W) uint8 RGB. where: for messages.

    Raises: RunError, when the file cannot be read, has too few frames, or `part` reaches beyond them.
    """

    def choose(total: int) -> NDArray[np.int64]:
        if indices[-1] >= total:
            raise TooShort(total, int(indices[-1]) + 1)
        return indices

    try:
        return torch.from_numpy(reader.read(path, choose, lambda source: _fit(source, part)).frames)
    except (Unreadable, TooShort) as error:
        raise RunError(f"{where}: cannot be read as its annotation says: {error}") from error
    except _Outside as error:
        raise RunError(f"{where}: {error}") from None


def read_image(path: Path, part: Box | None, where: str) -> Tensor:
    """An image, upright, or a part of it: (3, 1, H, W) uint8 RGB. where: for messages.

    Raises: RunError, when it cannot be read or `part` reaches beyond it.
    """
    try:
        with Image.open(path) as image:
            pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
        box = _inside(pixels.shape[:2], part)
    except UNREADABLE as error:
        raise RunError(f"{where}: cannot be read: {error}") from error
    except _Outside as error:
        raise RunError(f"{where}: {error}") from None
    picture = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[:, None]))


def _fit(source: Size, part: Box | None) -> Fit:
    box = _inside(source, part)
    return Fit(source, box.top, box.left, (box.height, box.width))


def _inside(source: Size, part: Box | None) -> Box:
    """The part, or all of a picture of `source` (rows, columns). Raises: _Outside."""
    box = part or Box(0, 0, *source)
    if box.top + box.height > source[0] or box.left + box.width > source[1]:
        x, y = f"x {box.left} to {box.left + box.width}", f"y {box.top} to {box.top + box.height}"
        raise _Outside(f"its crop ({x}, {y}) reaches beyond the picture of {source[0]} rows, {source[1]} columns")
    return box
