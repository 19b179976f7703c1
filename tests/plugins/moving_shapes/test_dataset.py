"""The dataset moving-shapes: what a row shows, and that it shows it anywhere, always."""

from pathlib import Path

import numpy as np
import pytest
import torch
from vidgen.errors import UserError
from vidgen.interfaces import Context, Dataset
from vidgen_moving_shapes import MovingShapesOptions
from vidgen_moving_shapes.dataset import build, draw
from vidgen_moving_shapes.shapes import COLOURS, COMBINATIONS, DIRECTIONS, SHAPES, caption

PROMPTS = Path(__file__).parents[3] / "recipes" / "prompts" / "moving_shapes.txt"


def make(context: Context | None = None, **options):
    return build(MovingShapesOptions(**options), context or Context(seed=5))


def any_rng():
    return np.random.default_rng(0)


def test_it_keeps_the_promises_of_a_dataset():
    dataset = make(Context(num_frames=7, image_size=(16, 24)), rows=50)
    sample = dataset.get(49, 7, (16, 24), any_rng())
    assert isinstance(dataset, Dataset)
    assert sample.video.shape == (3, 7, 16, 24)
    assert sample.video.dtype == torch.uint8
    assert sample.text == dataset.table["text"][49].as_py() == "a red circle moving right"
    assert sample.fps == dataset.table["fps"][49].as_py() == 8.0


def test_the_table_states_the_recipes_clip_for_every_row():
    table = make(Context(num_frames=7, image_size=(16, 24)), rows=50, fps=12.0).table
    assert table.num_rows == 50
    assert table.drop(["text"]).to_pylist() == [{"num_frames": 7, "height": 16, "width": 24, "fps": 12.0}] * 50


def test_without_a_recipe_the_table_states_16_frames_of_64_by_64():
    first = make(Context(), rows=1).table.to_pylist()[0]
    assert (first["num_frames"], first["height"], first["width"]) == (16, 64, 64)


def test_48_rows_in_a_row_show_every_combination_once():
    texts = make(rows=96).table["text"].to_pylist()
    assert len(set(texts[:48])) == len(COLOURS) * len(SHAPES) * len(DIRECTIONS) == 48
    assert set(texts[:48]) == set(texts[48:])


def test_the_prompt_file_holds_every_combination_once():
    prompts = PROMPTS.read_text().splitlines()
    assert prompts == [caption(*combination) for combination in COMBINATIONS]


def test_a_row_is_the_same_in_every_epoch_process_and_dataset_length():
    first = make(rows=60).get(51, 5, (13, 17), np.random.default_rng(1))
    again = make(rows=99).get(51, 5, (13, 17), np.random.default_rng(2))
    assert torch.equal(first.video, again.video)


def test_rows_of_one_caption_and_other_seeds_differ():
    dataset = make(rows=96)
    clip = dataset.get(3, 5, (13, 17), any_rng()).video
    assert not torch.equal(clip, dataset.get(51, 5, (13, 17), any_rng()).video)
    assert not torch.equal(clip, make(Context(seed=6)).get(3, 5, (13, 17), any_rng()).video)
    assert torch.equal(clip, make(Context(seed=6), seed=5).get(3, 5, (13, 17), any_rng()).video)


def test_the_way_covered_does_not_depend_on_the_number_of_frames():
    dataset = make()
    short, long = (dataset.get(3, frames, (13, 17), any_rng()).video for frames in (3, 5))
    assert torch.equal(short, long[:, ::2])


def test_a_single_frame_is_a_still_of_the_middle():
    dataset = make()
    still = dataset.get(3, 1, (13, 17), any_rng())
    assert torch.equal(still.video[:, 0], dataset.get(3, 5, (13, 17), any_rng()).video[:, 2])
    assert still.fps == 0.0


@pytest.mark.parametrize("row", range(0, 48, 5))
def test_a_shape_crosses_the_frame_in_its_direction_and_stays_inside(row):
    """With all of the free way to travel the box touches one edge in the first frame and the other in the last."""
    dataset = make(travel=(1.0, 1.0), start=(0.0, 0.3), object_size=(0.5, 0.5))
    lit = dataset.get(row, 4, (16, 24), any_rng()).video.amax(dim=0) > 0
    direction = COMBINATIONS[row][2]
    edges = {"left": lit[:, :, 0], "right": lit[:, :, -1], "up": lit[:, 0, :], "down": lit[:, -1, :]}
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up"}
    assert edges[direction][-1].any() and not edges[direction][0].any()
    assert edges[opposite[direction]][0].any() and not edges[opposite[direction]][-1].any()


def test_a_movement_begins_and_ends_where_the_options_say():
    """Frame 24 wide, box 8 wide, 16 free: start at 1/4 and travel of 1/2 put the box at 4..12 and then at 12..20."""
    dataset = make(travel=(0.5, 0.5), start=(0.25, 0.25), object_size=(0.5, 0.5))
    row = COMBINATIONS.index(("red", "square", "right"))
    lit = (dataset.get(row, 2, (16, 24), any_rng()).video.amax(dim=0) > 0).any(dim=1)
    assert [columns.nonzero().flatten()[[0, -1]].tolist() for columns in lit] == [[4, 11], [12, 19]]


def test_shapes_have_the_area_of_their_formulas():
    """Half-width 8: circle 64 pi, square 256, triangle 128 square pixels, to 3 per cent."""
    dataset = make(object_size=(0.5, 0.5))
    for row, area in ((0, 64 * np.pi), (4, 256.0), (8, 128.0)):
        red = dataset.get(row, 2, (32, 40), any_rng()).video[0].float() / 230
        assert red.sum(dim=(1, 2)).numpy() == pytest.approx(area, rel=0.03)


def test_the_background_fills_what_the_shape_leaves_and_edges_blend():
    dataset = make(background=(10, 20, 30), object_size=(0.5, 0.5))
    pixels = dataset.get(0, 2, (16, 16), any_rng()).video.flatten(1).T
    assert (pixels == torch.tensor([10, 20, 30])).all(dim=1).any()
    assert (pixels == torch.tensor(COLOURS["red"])).all(dim=1).any()
    assert ((pixels[:, 0] > 10) & (pixels[:, 0] < 230)).any()


def test_a_scene_can_be_drawn_without_a_dataset():
    scene = make().scene(7)
    assert (scene.colour, scene.shape, scene.direction) == ("red", "square", "down")
    assert draw(scene, 2, (9, 11), (0, 0, 0)).shape == (3, 2, 9, 11)


@pytest.mark.parametrize(("frames", "size"), [(0, (16, 16)), (4, (7, 16)), (4, (16, 7))])
def test_clips_it_cannot_draw_are_refused_with_the_limits(frames, size):
    with pytest.raises(UserError, match=rf"cannot draw {frames} frames of {size[0]}x{size[1]} .* at least 8 pixels"):
        make().get(0, frames, size, any_rng())


@pytest.mark.parametrize(
    ("key", "value", "accepted"),
    [
        ("rows", 0, "rows"),
        ("background", (0, 256, 0), "0 to 255"),
        ("object_size", (0.3, 0.2), "low <= high"),
        ("object_size", (0.3, 0.9), "high <= 0.7"),
        ("travel", (0.0, 0.5), "0.2 <= low"),
        ("start", (-0.1, 0.5), "0.0 <= low"),
        ("fps", 0.0, "fps"),
    ],
)
def test_options_out_of_range_are_refused(key, value, accepted):
    with pytest.raises(ValueError, match=accepted):
        MovingShapesOptions(**{key: value})
