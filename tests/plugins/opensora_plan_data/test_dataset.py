"""Annotated clips as samples."""

import logging
import pickle
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context
from vidgen.testing import assert_conforms
from vidgen.testing.tiny import tiny_context
from vidgen_opensora_plan_data import OpenSoraPlanDataOptions
from vidgen_opensora_plan_data.dataset import build

FORCED = {"num_frames": 29, "force_resolution": True, "max_height": 16, "max_width": 24, "total_batch_size": 0}
AREA = {"num_frames": 29, "max_hxw": 1500, "min_hxw": 64, "hw_stride": 8, "total_batch_size": 0}
IMAGES = {"image_endings": [".jpg", ".png"]}


@pytest.fixture
def dataset(write_data):
    """A dataset of items, by default of one forced size."""

    def of(*items, form="json", **options):
        data = write_data(list(items), form)
        return build(OpenSoraPlanDataOptions(**{"data": data, **(options or FORCED)}), Context())

    return of


def get(dataset, row=0, num_frames=None, size=None, seed=0):
    known = dataset.table.slice(row, 1).to_pylist()[0]
    size = size or (known["height"], known["width"])
    return dataset.get(row, num_frames or known["num_frames"], size, np.random.default_rng(seed))


def test_the_table_tells_of_the_samples_what_will_be_read(dataset, clip, tmp_path):
    items = [clip("a", 40, cap=["one", "two"]), clip("b", 1, cap="three"), clip("c", 45, fps=30, cut=[7, 52])]
    table = dataset(*items, **FORCED, **IMAGES, drop_short_ratio=0.0).table
    known = table.select(["path", "text", "num_frames", "height", "width", "fps"]).to_pylist()
    assert [tuple(row.values()) for row in known] == [
        (f"{tmp_path}/a.mp4", "one", 29, 16, 24, 24.0),
        (f"{tmp_path}/b.png", "three", 1, 16, 24, None),
        (f"{tmp_path}/c.mp4", "this is c", 29, 16, 24, 24.0),
    ]
    assert table.column("captions").to_pylist() == [["one", "two"], None, None]
    assert table.column("start").to_pylist() == [0, 0, 7]


@pytest.mark.parametrize("form", ["json", "pkl"])
def test_a_sample_is_a_window_of_the_clip(dataset, clip, numbers_in, form):
    made = dataset(clip("a", 60), form=form)
    begins = set()
    for seed in range(20):
        sample = get(made, seed=seed)
        assert sample.video.shape == (3, 29, 16, 24) and sample.video.dtype == torch.uint8
        assert sample.text == "this is a" and sample.fps == 24.0
        numbers = numbers_in(sample.video)
        assert numbers == list(range(numbers[0], numbers[0] + 29))
        begins.add(numbers[0])
    assert len(begins) > 5 and max(begins) <= 30


def test_a_cut_starts_where_it_says_and_ends_with_its_number_of_frames(dataset, clip, numbers_in):
    made = dataset(clip("a", 60) | {"cut": [20, 52], "num_frames": 32})
    firsts = {numbers_in(get(made, seed=seed).video)[0] for seed in range(30)}
    assert firsts == {20, 21, 22}


def test_clips_are_brought_to_the_rate_of_training(dataset, clip, numbers_in):
    made = dataset(clip("a", 58), **FORCED, train_fps=12.0)
    sample = get(made)
    assert numbers_in(sample.video) == list(range(0, 58, 2)) and sample.fps == 12.0
    slow = dataset(clip("a", 15), **FORCED, train_fps=48.0)
    sample = get(slow)
    assert numbers_in(sample.video) == [number // 2 for number in range(29)] and sample.fps == 48.0


def test_long_clips_are_sped_up_as_far_as_allowed(dataset, clip, numbers_in):
    sample = get(dataset(clip("a", 58), **FORCED, speed_factor=4.0))
    numbers = numbers_in(sample.video)
    assert (numbers[0], numbers[-1], len(numbers)) == (0, 57, 29) and sample.fps == 12.0
    sample = get(dataset(clip("a", 58), **FORCED, speed_factor=1.25))
    numbers = numbers_in(sample.video)
    assert 34 <= numbers[-1] - numbers[0] <= 36 and sample.fps == pytest.approx(24 / 1.25)


@pytest.mark.parametrize("frames", [30, 37, 40, 74])
def test_what_is_planned_is_read_for_every_length(dataset, clip, frames):
    """Lengths of which the reference loses a frame to rounding, and then refuses the clip."""
    assert get(dataset(clip("a", frames), **FORCED, speed_factor=9.0)).video.shape[1] == 29


def test_a_short_clip_gives_its_first_frames(dataset, clip, numbers_in):
    made = dataset(clip("a", 36), **FORCED | {"num_frames": 45}, drop_short_ratio=0.0)
    assert made.table.column("num_frames").to_pylist() == [33]
    assert {tuple(numbers_in(get(made, seed=seed).video)) for seed in range(5)} == {tuple(range(33))}


def test_without_a_forced_size_a_clip_keeps_its_ratio(dataset, clip, numbers_in):
    made = dataset(clip("a", 30, height=50, width=70), clip("b", 1, height=30, width=20), **AREA, **IMAGES)
    assert [get(made, row).video.shape for row in (0, 1)] == [(3, 29, 32, 40), (3, 1, 24, 16)]
    assert numbers_in(get(made).video) == list(range(29))


def test_a_crop_is_cut_out_before_all_else(dataset, clip):
    item = clip("a", 30, height=40, width=64)
    left = item | {"crop": [0, 32, 8, 40], "resolution": {"height": 32, "width": 32}}
    right = item | {"crop": [32, 64, 8, 40], "resolution": {"height": 32, "width": 32}}
    for options in (AREA, FORCED | {"max_height": 32, "max_width": 32}):
        halves = [get(dataset(one, **options), seed=1).video for one in (left, right)]
        # Frame 17 is 24 on the left and 24 on the right, frame 2 is 8 and 40: each half is of one grey.
        spread = [half[:, 2].float().std().item() for half in halves]
        assert max(spread) < 3, spread
        assert abs(halves[0][:, 2].float().mean() - 8) < 4 and abs(halves[1][:, 2].float().mean() - 40) < 4


def test_an_image_is_one_frame_without_rate(dataset, clip):
    sample = get(dataset(clip("a", 1), **FORCED, **IMAGES))
    assert sample.video.shape == (3, 1, 16, 24) and sample.fps == 0.0


def test_a_caption_is_drawn_from_the_list(dataset, clip):
    made = dataset(clip("a", 30, cap=["one", "two", "three"]))
    assert {get(made, seed=seed).text for seed in range(30)} == {"one", "two", "three"}


def test_a_remarkable_score_is_told_in_the_caption(dataset, clip):
    made = dataset(clip("a", 30, aesthetic=6.0), clip("b", 30, aes=5.0))
    assert "high" in get(made, 0).text.lower() and "this is a" in get(made, 0).text
    assert get(made, 1).text == "this is b"


def test_another_size_or_length_than_planned_is_given_too(dataset, clip, numbers_in):
    made = dataset(clip("a", 60), **AREA)
    video = get(made, num_frames=7, size=(10, 30)).video
    numbers = numbers_in(video)
    assert video.shape == (3, 7, 10, 30) and numbers == list(range(numbers[0], numbers[0] + 7))


def test_a_sample_depends_on_the_rng_alone_also_in_another_process(dataset, clip):
    made = dataset(clip("a", 60, cap=["one", "two"]))
    again = pickle.loads(pickle.dumps(made))
    first, second = get(made, seed=3), get(again, seed=3)
    assert torch.equal(first.video, second.video) and first.text == second.text


def test_identity_changes_with_the_annotation(dataset, clip):
    item = clip("a", 60)
    names = {
        dataset(item | change).identity(0) for change in ({}, {"cap": "b"}, {"cut": [1, 60]}, {"crop": [0, 9, 0, 9]})
    }
    assert len(names) == 4
    assert dataset(item).identity(0) == dataset(item).identity(0)


def test_the_log_tells_what_is_left_out(dataset, clip, caplog):
    caplog.set_level(logging.INFO, "vidgen")
    dataset(clip("a", 30), clip("b", 9), clip("c", 9, cap=None))
    assert "data.txt: 1 of 3 items become samples; left out: no_cap 1, too_short 1" in caplog.text


def test_it_keeps_what_a_dataset_promises(write_data, clip):
    data = write_data([clip("a", 40), clip("b", 31)])
    assert_conforms("dataset", "OpenSoraPlanData", data=str(data), **FORCED)


def test_the_bucketer_keeps_what_a_bucketer_promises():
    assert_conforms("bucketer", "grouped", group_data=True)


@pytest.mark.parametrize("change", [{"num_frames": 45}, {"crop": [0, 60, 0, 20]}, {"path": "gone.mp4"}])
def test_media_that_contradicts_its_annotation_is_told_with_row_and_file(dataset, clip, change):
    texts = {
        "num_frames": "a.mp4: cannot be read as its annotation says: it has 30 frames, 45 are asked for",
        "crop": r"a.mp4: its crop \(x 0 to 60, y 0 to 20\) reaches beyond the picture of 34 rows, 50 columns",
        "path": "gone.mp4: no such file. Correct the annotation",
    }
    item = clip("a", 30)
    made = dataset(item, item | change, **FORCED | {"num_frames": change.get("num_frames", 29)}, drop_short_ratio=0.0)
    with pytest.raises(RunError, match=rf"data\.txt, row 1 \(counting from 0\): .*{texts[next(iter(change))]}"):
        get(made, 1)


def test_an_image_smaller_than_its_crop_is_told(dataset, clip):
    made = dataset(clip("a", 1, crop=[0, 60, 0, 20]), **FORCED, **IMAGES)
    with pytest.raises(RunError, match=r"its crop \(x 0 to 60, y 0 to 20\) reaches beyond the picture"):
        get(made)


def test_a_wrong_resolution_is_told(dataset, clip):
    made = dataset(clip("a", 30, resolution={"height": 16, "width": 32}), **AREA)
    with pytest.raises(RunError, match="34 rows and 50 columns, which gives 24x40, not the 16x32"):
        get(made)


@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_a_damaged_file_is_told(dataset, clip, tmp_path, name):
    item = clip("a", 30 if name == "a.mp4" else 1)
    (tmp_path / name).write_bytes(b"no media")
    made = dataset(item, **FORCED, **IMAGES)
    with pytest.raises(RunError, match=rf"row 0 \(counting from 0\): .*{name}: cannot be read"):
        get(made)


def test_an_empty_list_of_captions_is_told_when_it_is_read(dataset, clip):
    with pytest.raises(RunError, match=r"row 0 .*: its list of captions is empty"):
        get(dataset(clip("a", 30, cap=[])))


@pytest.mark.parametrize(("frames", "there"), [(30, 30), (1, 1)])
def test_more_frames_than_there_are_is_refused(dataset, clip, frames, there):
    made = dataset(clip("a", frames), **FORCED, **IMAGES)
    with pytest.raises(UserError, match=rf"it has {there} frame\(s\) at 24 frames a second, 31 are asked for"):
        get(made, num_frames=31)


def test_a_wrong_folder_is_told_at_the_start(dataset):
    item = {"path": "no.mp4", "cap": "a", "resolution": {"height": 20, "width": 30}, "num_frames": 40}
    with pytest.raises(UserError, match=r"data\.txt: no such file: .*/no\.mp4. Correct the folder or the path"):
        dataset(item)


def test_no_sample_is_refused_at_the_start(dataset, clip):
    with pytest.raises(UserError, match=r"data\.txt: no item becomes a sample:\n +1  items\n +1  - videos too short"):
        dataset(clip("a", 9))


def test_shared_keys_come_from_the_recipe(write_data, clip):
    context = attrs.evolve(tiny_context(), num_frames=29)
    options = OpenSoraPlanDataOptions(data=Path(write_data([clip("a", 40)] * 12)), force_resolution=True)
    table = build(options, context).table
    assert table.num_rows == 12  # four batches of three
    assert (table.column("height")[0].as_py(), table.column("width")[0].as_py()) == context.image_size
    with pytest.raises(UserError, match="11  - of a shape that fewer than 4"):
        build(attrs.evolve(options, data=Path(write_data([clip("a", 40)] * 11))), context)
