"""Words and geometry shared by the dataset and the metric: what can be shown, and how a shape covers pixels.

Lengths are in pixels; x runs right, y runs down; the middle of the first pixel lies at 0.5.
"""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

COLOURS = {"red": (230, 40, 40), "green": (40, 200, 60), "blue": (50, 80, 240), "yellow": (240, 210, 40)}
SHAPES = ("circle", "square", "triangle")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}  # steps along x and y
COMBINATIONS = tuple(product(COLOURS, SHAPES, DIRECTIONS))


def caption(colour: str, shape: str, direction: str) -> str:
    """The caption of a combination: `a red circle moving left`."""
    return f"a {colour} {shape} moving {direction}"


def coverage(shape: str, x: Floats, y: Floats, half: Floats | float) -> Floats:
    """How much of each pixel a shape covers, 0 to 1, with soft edges one pixel wide.

    x, y: middles of the pixels, seen from the middle of the shape's bounding box; arrays that broadcast.
    half: half the width of that box. The triangle stands on its base.
    """
    distance = {"circle": _circle, "square": _square, "triangle": _triangle}[shape](x, y, half)
    return np.clip(0.5 - distance, 0.0, 1.0)


def _circle(x: Floats, y: Floats, half: Floats | float) -> Floats:
    return np.sqrt(x * x + y * y) - half


def _square(x: Floats, y: Floats, half: Floats | float) -> Floats:
    return np.maximum(np.abs(x), np.abs(y)) - half


def _triangle(x: Floats, y: Floats, half: Floats | float) -> Floats:
    slopes = (2.0 * np.abs(x) - y - half) / np.float32(5**0.5)
    return np.maximum(slopes, y - half)
