"""The dataset: every clip is drawn when it is asked for, from its row and the seed alone."""

import numpy as np
import pyarrow as pa
import torch
from attrs import frozen
from numpy.typing import NDArray
from vidgen.errors import UserError
from vidgen.interfaces import Context, Sample
from vidgen.rng import numpy_generator

from vidgen_moving_shapes import MovingShapesOptions
from vidgen_moving_shapes.shapes import COLOURS, COMBINATIONS, DIRECTIONS, caption, coverage

SMALLEST_SIDE = 8
DEFAULT_FRAMES = 16
DEFAULT_SIZE = (64, 64)


@frozen(kw_only=True)
class Scene:
    """What one row shows, free of any frame size.

    size: width of the shape over the shorter side. start, travel: where the movement begins, seen from the edge it
    leaves, and the way covered, over the way that is free. across: place on the other axis, 0 to 1.
    """

    colour: str
    shape: str
    direction: str
    size: float
    start: float
    travel: float
    across: float


class MovingShapes:
    """Clips of one shape that crosses the frame at a constant speed; see `vidgen.interfaces.Dataset`."""

    def __init__(self, options: MovingShapesOptions, *, seed: int, num_frames: int, size: tuple[int, int]) -> None:
        self._options = options
        self._seed = seed
        self.table = _table(options, num_frames=num_frames, size=size)

    def scene(self, row: int) -> Scene:
        """What row `row` shows: combination `row` modulo 48, the rest drawn at the address (seed, row)."""
        if not 0 <= row < self._options.rows:
            raise IndexError(f"row {row} of a dataset of {self._options.rows} rows")
        colour, shape, direction = COMBINATIONS[row % len(COMBINATIONS)]
        size, start, travel, across = numpy_generator(self._seed, "moving-shapes", row).random(4)
        return Scene(
            colour=colour,
            shape=shape,
            direction=direction,
            size=_between(self._options.object_size, size),
            start=_between(self._options.start, start),
            travel=_between(self._options.travel, travel),
            across=across,
        )

    def get(self, row: int, num_frames: int, size: tuple[int, int], rng: np.random.Generator) -> Sample:
        """Row `row` as `num_frames` >= 1 frames of `size` (rows, columns), 8 pixels a side or more.

        The way covered is the same whatever the number of frames; a single frame shows its middle. `rng` is not used:
        a row shows the same scene in every epoch. Raises: UserError for a side below 8 pixels or no frame.
        """
        if num_frames < 1 or min(size) < SMALLEST_SIDE:
            raise UserError(
                f"moving-shapes cannot draw {num_frames} frames of {size[0]}x{size[1]} pixels: a clip has at least "
                f"1 frame and sides of at least {SMALLEST_SIDE} pixels. Change num_frames or image_size."
            )
        scene = self.scene(row)
        video = draw(scene, num_frames, size, self._options.background)
        text = caption(scene.colour, scene.shape, scene.direction)
        return Sample(video=torch.from_numpy(video), text=text, fps=self._options.fps if num_frames > 1 else 0.0)

    def identity(self, row: int) -> str:
        """The scene, which the seed and the row decide."""
        return f"{self._seed} {row}"


def build(options: MovingShapesOptions, context: Context) -> MovingShapes:
    """The dataset; its table states the recipe's num_frames and image_size, or 16 frames of 64x64 without a recipe."""
    return MovingShapes(
        options,
        seed=context.seed if options.seed is None else options.seed,
        num_frames=context.num_frames or DEFAULT_FRAMES,
        size=context.image_size or DEFAULT_SIZE,
    )


def draw(scene: Scene, num_frames: int, size: tuple[int, int], background: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The pixels of a scene: RGB, (3, T, H, W), 0 to 255."""
    half = 0.5 * scene.size * min(size)
    centre_x, centre_y = _path(scene, num_frames, size, half)
    rows = np.arange(size[0], dtype=np.float32) + 0.5
    columns = np.arange(size[1], dtype=np.float32) + 0.5
    x = columns - centre_x[:, None, None]
    y = rows[:, None] - centre_y[:, None, None]
    cover = coverage(scene.shape, x, y, half)
    behind = np.array(background, np.float32)[:, None, None, None]
    front = np.array(COLOURS[scene.colour], np.float32)[:, None, None, None]
    return (behind + (front - behind) * cover + 0.5).astype(np.uint8)


def _path(scene: Scene, num_frames: int, size: tuple[int, int], half: float) -> tuple[NDArray, NDArray]:
    """Middle of the bounding box in every frame: x (T,), y (T,), in pixels."""
    progress = np.linspace(0.0, 1.0, num_frames) if num_frames > 1 else np.array([0.5])
    along = min(scene.start, 1.0 - scene.travel) + scene.travel * progress  # never beyond the far edge
    across = np.full_like(along, scene.across)
    step_x, step_y = DIRECTIONS[scene.direction]
    if step_x + step_y < 0:
        along = 1.0 - along
    share_x, share_y = (along, across) if step_x else (across, along)
    x = half + share_x * (size[1] - 2 * half)
    y = half + share_y * (size[0] - 2 * half)
    return x.astype(np.float32), y.astype(np.float32)


def _between(bounds: tuple[float, float], share: float) -> float:
    low, high = bounds
    return low + (high - low) * share


def _table(options: MovingShapesOptions, *, num_frames: int, size: tuple[int, int]) -> pa.Table:
    captions = [caption(*combination) for combination in COMBINATIONS]
    rows = options.rows
    return pa.table(
        {
            "text": [captions[row % len(captions)] for row in range(rows)],
            "num_frames": np.full(rows, num_frames, np.int64),
            "height": np.full(rows, size[0], np.int64),
            "width": np.full(rows, size[1], np.int64),
            "fps": np.full(rows, options.fps if num_frames > 1 else 0.0, np.float64),
        }
    )
