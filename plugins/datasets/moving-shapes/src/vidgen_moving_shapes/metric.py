"""The metric: finds the moving shape in a clip's pixels, names its colour, shape and direction, and compares.

How: the background is the median colour; what differs from it clearly is the object; its mean colour must be near one
of the palette; every frame's object is compared with ideal circles, squares and triangles of its area and centroid;
the direction is the slope of the centroids. What cannot be decided counts as wrong.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor
from vidgen.errors import UserError
from vidgen.interfaces import Context

from vidgen_moving_shapes import MetricOptions
from vidgen_moving_shapes.shapes import COLOURS, DIRECTIONS, SHAPES, Floats, coverage

CLEARLY_DIFFERENT = 64.0  # of 255, in the channel that differs most
NEAR_COLOUR = 80.0  # RGB distance; the palette's colours are at least 170 apart
FAINTEST_COVER = 0.3  # cover below this counts as background
OBJECT_SHARE = (0.01, 0.6)  # of the frame's area
LOOKS_LIKE_OBJECT = 0.55  # overlap with the best ideal shape
SEEN_SHARE = 0.75  # of the frames
SHORTEST_WAY = 0.1  # of the shorter side
CLEARLY_ALONG = 2.0  # way on the main axis over way on the other


@frozen(kw_only=True)
class Verdict:
    """What a clip shows; None where the pixels do not say."""

    colour: str | None = None
    shape: str | None = None
    direction: str | None = None


class MovingShapesMetric:
    """Share of clips that show the prompt's colour, shape and direction; see `vidgen.interfaces.Metric`."""

    needs_reference = False
    better: Mapping[str, str] = {"colour": "higher", "shape": "higher", "direction": "higher"}

    def __init__(self) -> None:
        self._hits = {"colour": 0, "shape": 0, "direction": 0}
        self._clips = 0

    def check(self, prompt: str) -> None:
        """See `vidgen.interfaces.Metric`. Raises: UserError for a prompt that is not of this dataset."""
        wanted_by(prompt)

    def update(self, video: Tensor, prompt: str, reference: Tensor | None = None) -> dict[str, float]:
        """Take in one clip, (3, T, H, W) uint8 RGB. Returns 1 for what is as the prompt says, 0 for what is not.
        Raises: UserError for a prompt that is not of this dataset."""
        wanted = wanted_by(prompt)
        seen = judge(video.cpu().numpy())
        right = {name: getattr(seen, name) == getattr(wanted, name) for name in self._hits}
        self._clips += 1
        for name, hit in right.items():
            self._hits[name] += hit
        return {name: float(hit) for name, hit in right.items()}

    def compute(self) -> dict[str, float]:
        """`colour`, `shape`, `direction`: shares from 0 to 1; empty before the first clip."""
        return {name: hits / self._clips for name, hits in self._hits.items() if self._clips}


def build(options: MetricOptions, context: Context) -> MovingShapesMetric:
    """A metric that has seen no clip yet."""
    return MovingShapesMetric()


def wanted_by(prompt: str) -> Verdict:
    """What a prompt asks for. Raises: UserError unless it names one colour, one shape and one direction."""
    words = re.findall(r"[a-z]+", prompt.lower())
    found = [[word for word in words if word in known] for known in (COLOURS, SHAPES, DIRECTIONS)]
    if any(len(matches) != 1 for matches in found):
        raise UserError(
            f"the metric moving-shapes cannot mark the prompt {prompt!r}: it needs one colour ({', '.join(COLOURS)}), "
            f"one shape ({', '.join(SHAPES)}) and one direction ({', '.join(DIRECTIONS)}), as in 'a red circle moving "
            "left'. Change the prompts or leave the metric out."
        )
    colour, shape, direction = (matches[0] for matches in found)
    return Verdict(colour=colour, shape=shape, direction=direction)


def judge(video: NDArray[np.uint8]) -> Verdict:
    """What a clip, (3, T, H, W) RGB, shows."""
    pixels = video.astype(np.float32)
    background = np.median(pixels.reshape(3, -1), axis=1)[:, None, None, None]
    colour = _colour(pixels, background)
    if colour is None:
        return Verdict()
    cover = _cover(pixels, background, colour)
    mass = cover.sum(axis=(1, 2))
    low, high = (share * cover[0].size for share in OBJECT_SHARE)
    seen = np.flatnonzero((mass >= low) & (mass <= high))
    if len(seen) < SEEN_SHARE * len(cover):
        return Verdict()
    x, y = _centroids(cover[seen], mass[seen])
    overlap = {shape: _overlap(shape, cover[seen], mass[seen], x, y) for shape in SHAPES}
    shape = max(overlap, key=overlap.__getitem__)
    if overlap[shape] < LOOKS_LIKE_OBJECT:
        return Verdict()
    return Verdict(colour=colour, shape=shape, direction=_direction(seen, x, y, min(cover.shape[1:])))


def _colour(pixels: Floats, background: Floats) -> str | None:
    difference = np.abs(pixels - background).max(axis=0)
    weight = np.where(difference > CLEARLY_DIFFERENT, difference, 0.0)
    if not weight.any():
        return None
    mean = (pixels * weight).sum(axis=(1, 2, 3)) / weight.sum()
    distance = {name: float(np.linalg.norm(mean - np.array(rgb))) for name, rgb in COLOURS.items()}
    nearest = min(distance, key=distance.__getitem__)
    return nearest if distance[nearest] < NEAR_COLOUR else None


def _cover(pixels: Floats, background: Floats, colour: str) -> Floats:
    """How far each pixel is on the way from the background to the colour, (T, H, W), 0 to 1."""
    way = np.array(COLOURS[colour], np.float32)[:, None, None, None] - background
    cover = np.clip(((pixels - background) * way).sum(axis=0) / (way * way).sum(), 0.0, 1.0)
    return np.where(cover < FAINTEST_COVER, 0.0, cover)


def _centroids(cover: Floats, mass: Floats) -> tuple[Floats, Floats]:
    x = np.arange(cover.shape[2]) + 0.5
    y = np.arange(cover.shape[1]) + 0.5
    return (cover.sum(axis=1) * x).sum(axis=1) / mass, (cover.sum(axis=2) * y).sum(axis=1) / mass


def _overlap(shape: str, cover: Floats, mass: Floats, x: Floats, y: Floats) -> float:
    """Intersection over union, mean over frames, with the ideal shape of the same area and centroid."""
    half_of: dict[str, Callable[[Floats], Floats]] = {
        "circle": lambda area: np.sqrt(area / np.pi),
        "square": lambda area: np.sqrt(area) / 2,
        "triangle": lambda area: np.sqrt(area / 2),
    }
    half = half_of[shape](mass)
    middle = y - half / 3 if shape == "triangle" else y  # a triangle's centroid lies below its box's middle
    columns = np.arange(cover.shape[2]) + 0.5 - x[:, None, None]
    rows = (np.arange(cover.shape[1]) + 0.5)[:, None] - middle[:, None, None]
    ideal = coverage(shape, columns, rows, half[:, None, None])
    shared = np.minimum(cover, ideal).sum(axis=(1, 2))
    either = np.maximum(cover, ideal).sum(axis=(1, 2))
    return float((shared / either).mean())


def _direction(frames: NDArray[np.intp], x: Floats, y: Floats, side: int) -> str | None:
    if len(frames) < 2:
        return None
    span = frames[-1] - frames[0]
    way_x, way_y = (float(np.polyfit(frames, centre, 1)[0]) * span for centre in (x, y))
    main, other = sorted((abs(way_x), abs(way_y)), reverse=True)
    if main < SHORTEST_WAY * side or main < CLEARLY_ALONG * other:
        return None
    if abs(way_x) > abs(way_y):
        return "left" if way_x < 0 else "right"
    return "up" if way_y < 0 else "down"
