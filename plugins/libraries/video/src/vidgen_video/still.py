"""Still images: read with Pillow, turned as their EXIF data says, resized, cut."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vidgen_video.fit import Size, cover
from vidgen_video.reader import Unreadable

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
FAILURES = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def is_still(path: str | Path) -> bool:
    """Whether a file is a still image, by its name."""
    return str(path).lower().endswith(SUFFIXES)


def still_size(path: Path) -> Size:
    """Rows and columns of an image as displayed, from its header. Raises: Unreadable."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(0x0112, 1) >= 5
            return (image.width, image.height) if turned else (image.height, image.width)
    except FAILURES as error:
        raise Unreadable(str(error)) from error


def read_still(path: Path, size: Size, *, halve_first: bool) -> NDArray[np.uint8]:
    """An image as (3, 1, H, W) uint8 RGB of `size` (rows, columns): scaled by bicubic interpolation until it covers
    `size`, the centre cut out.

    halve_first: first halve it by averaging 2x2 pixels as long as it stays at least as large as `size` both ways, as
        ADM does (arXiv 2105.05233, its published code).
    Raises: Unreadable.
    """
    try:
        with Image.open(path) as image:
            picture = _eight_bit(ImageOps.exif_transpose(image)).convert("RGB")
    except FAILURES as error:
        raise Unreadable(str(error)) from error
    while halve_first and picture.height >= 2 * size[0] and picture.width >= 2 * size[1]:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    fit = cover((picture.height, picture.width), size)
    scaled = picture.resize((fit.scaled[1], fit.scaled[0]), Image.Resampling.BICUBIC)
    cut = np.asarray(scaled)[fit.top : fit.top + size[0], fit.left : fit.left + size[1]]
    return np.ascontiguousarray(cut.transpose(2, 0, 1)[:, None])


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey, which Pillow alone would clip to white."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
