"""The dataset VideoText: samples, their addresses, its table and what it refuses."""

import logging
import multiprocessing
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from PIL import Image
from vidgen.errors import RunError, UserError
from vidgen.interfaces import Context, Dataset
from vidgen_video.shared import SharedTable
from vidgen_video.still import read_still
from vidgen_video_text import VariableVideoTextOptions, VideoTextOptions, vidgen_datasets
from vidgen_video_text.dataset import build, build_variable

SIZE = (34, 50)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def make(tmp_path):
    """A dataset over a table written from lines of CSV; media are looked for in `tmp_path`."""

    def made(*lines, header="path,text", context=None, **options):
        meta = tmp_path / "meta.csv"
        meta.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return build(VideoTextOptions(data_path=meta, **options), context or Context())

    return made


@pytest.fixture
def image(tmp_path):
    Image.new("RGB", (64, 48), (10, 200, 30)).save(tmp_path / "still.png")


def test_the_plugin_offers_one_dataset_for_one_size_and_one_for_many():
    offered = {component.name: component.options for component in vidgen_datasets()}
    assert offered == {"VideoText": VideoTextOptions, "VariableVideoText": VariableVideoTextOptions}


def test_a_sample_is_a_window_of_the_clip_with_caption_and_rate(make, write_video, numbers_in):
    write_video("a.mp4", 60)
    dataset = make("a.mp4,a cat", context=Context(frame_interval=3))
    assert isinstance(dataset, Dataset)
    sample = dataset.get(0, 7, SIZE, rng())
    assert sample.video.shape == (3, 7, *SIZE)
    assert sample.video.dtype == torch.uint8
    assert (sample.text, sample.fps) == ("a cat", 10.0)
    numbers = numbers_in(sample.video)
    assert numbers[-1] - numbers[0] == 20
    assert set(np.diff(numbers)) == {3, 4}


def test_the_window_is_drawn_from_the_generator_handed_in(make, write_video, numbers_in):
    write_video("a.mp4", 60)
    dataset = make("a.mp4,a cat")
    starts = [numbers_in(dataset.get(0, 5, SIZE, rng(seed)).video)[0] for seed in (1, 2, 3, 1, 2, 3)]
    assert starts[:3] == starts[3:]
    assert len(set(starts)) == 3


def test_the_first_window_is_always_the_beginning(make, write_video, numbers_in):
    write_video("a.mp4", 60)
    dataset = make("a.mp4,a cat", window="first", frame_interval=2)
    assert {tuple(numbers_in(dataset.get(0, 5, SIZE, rng(seed)).video)) for seed in range(4)} == {(0, 2, 4, 6, 9)}


def test_the_option_frame_interval_overrides_the_recipes(make, write_video):
    write_video("a.mp4", 30)
    assert make("a.mp4,x", frame_interval=2, context=Context(frame_interval=5)).get(0, 3, SIZE, rng()).fps == 15.0


def test_the_tables_rate_counts_before_the_files(make, write_video):
    write_video("a.mp4", 30)
    dataset = make("a.mp4,x,24", "a.mp4,x,", header="path,text,fps", frame_interval=2)
    assert [dataset.get(row, 3, SIZE, rng()).fps for row in (0, 1)] == [12.0, 15.0]


def test_a_wrong_number_of_frames_in_the_table_does_no_harm(make, write_video, numbers_in):
    write_video("a.mp4", 20)
    dataset = make("a.mp4,x,5000", header="path,text,num_frames")
    for seed in range(5):
        numbers = numbers_in(dataset.get(0, 4, SIZE, rng(seed)).video)
        assert numbers == list(range(numbers[0], numbers[0] + 4))


def test_a_clip_shorter_than_the_table_says_names_both_numbers(make, write_video):
    write_video("a.mp4", 20)
    with pytest.raises(UserError, match=r"it has 20 frames, 30 are asked for. The table says 5000: correct"):
        make("a.mp4,x,5000", header="path,text,num_frames").get(0, 30, SIZE, rng())


def test_a_path_may_be_listed_twice(make, write_video, numbers_in):
    write_video("a.mp4", 60)
    dataset = make("a.mp4,a cat", "a.mp4,a dog")
    samples = [dataset.get(row, 2, SIZE, rng(row)) for row in (0, 1)]
    assert [sample.text for sample in samples] == ["a cat", "a dog"]
    assert dataset.table["num_frames"].to_pylist() == [60, 60]
    assert dataset.identity(0) != dataset.identity(1)


def test_a_loop_of_folders_costs_its_row_only(make, write_video, tmp_path):
    write_video("a.mp4", 9)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "again").symlink_to(tmp_path / "folder")
    (tmp_path / "folder" / "a.mp4").symlink_to(tmp_path / "a.mp4")
    dataset = make("a.mp4,x", "folder/again/again/a.mp4,x", f"folder/{'again/' * 60}a.mp4,x")
    assert dataset.get(1, 2, SIZE, rng()).video.shape == (3, 2, *SIZE)
    with pytest.raises(RunError, match=r"row 2 .*no such file"):
        dataset.get(2, 2, SIZE, rng())
    assert dataset.table["num_frames"].to_pylist() == [9, 9, None]


def test_captions_reach_the_sample_as_they_were_written(make, write_video):
    write_video("a.mp4", 9)
    assert make('a.mp4,"she says ""hi"",\nthen 🎬"').get(0, 2, SIZE, rng()).text == 'she says "hi",\nthen 🎬'


def test_too_many_rows_of_unknown_size_stop_the_run(make, write_video, tmp_path):
    write_video("a.mp4", 9)
    lines = ["a.mp4,x", "gone.mp4,x", "gone.png,x", "a.mp4,x"]
    assert make(*lines, max_unknown_fraction=0.5).table.num_rows == 4
    with pytest.raises(UserError, match=r"2 of 4 rows is unknown.*first: row 1.*gone.mp4.*a share of 0.4"):
        _ = make(*lines, max_unknown_fraction=0.4).table


@pytest.fixture
def make_variable(tmp_path):
    """The same for datasets whose sizes come from a bucketer."""

    def made(*lines, header="path,text", context=None, **options):
        meta = tmp_path / "meta.csv"
        meta.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return build_variable(VariableVideoTextOptions(data_path=meta, **options), context or Context())

    return made


def test_a_variable_dataset_gives_every_row_at_the_size_it_is_asked_for(make_variable, write_video, image, numbers_in):
    write_video("a.mp4", 60)
    dataset = make_variable("a.mp4,a cat", "still.png,green", context=Context(image_size=(9, 9), num_frames=3))
    for num_frames, size in ((5, (34, 50)), (7, (20, 62)), (1, (51, 25))):
        assert dataset.get(0, num_frames, size, rng()).video.shape == (3, num_frames, *size)
    assert dataset.get(1, 1, (13, 5), rng()).video.shape == (3, 1, 13, 5)
    assert dataset.table["num_frames"].to_pylist() == [60, 1]
    with pytest.raises(
        UserError, match=r"row 1 .*an image where a video is expected .*leave images out of the table\.$"
    ):
        dataset.get(1, 5, (34, 50), rng())


def test_rates_of_a_variable_dataset_are_whole_numbers_as_in_open_sora(make_variable, write_video):
    write_video("a.mp4", 60)
    lines = ["a.mp4,x,29.97", "a.mp4,x,24", "a.mp4,x,2"]
    for interval, rates in ((1, [29.0, 24.0, 2.0]), (5, [5.0, 4.0, 0.4])):
        dataset = make_variable(*lines, header="path,text,fps", frame_interval=interval)
        assert [dataset.get(row, 2, SIZE, rng()).fps for row in range(3)] == rates


def test_a_rate_that_nobody_knows_counts_as_24(make, write_video):
    write_video("a.mp4", 9)
    dataset = make("a.mp4,x", frame_interval=2)
    dataset._reader = Timeless(dataset._reader)
    assert dataset.get(0, 2, SIZE, rng()).fps == 12.0


class Timeless:
    """A reader of files that do not tell their rate."""

    def __init__(self, reader):
        self._reader = reader

    def read(self, *arguments):
        return evolve(self._reader.read(*arguments), fps=0.0)


@pytest.mark.parametrize("transform_name", ["center", "resize_crop"])
def test_a_variable_dataset_takes_both_transforms(transform_name, make_variable, write_video):
    write_video("a.mp4", 9)
    dataset = make_variable("a.mp4,x", transform_name=transform_name, context=Context(image_size=(20, 30)))
    assert dataset.get(0, 2, (20, 20), rng()).video.shape == (3, 2, 20, 20)


def test_a_reader_that_is_not_installed_is_named_with_the_way_to_get_it(make, write_video, monkeypatch):
    write_video("a.mp4", 9)
    monkeypatch.setitem(sys.modules, "decord", None)
    monkeypatch.delitem(sys.modules, "vidgen_video.decord_library", raising=False)
    with pytest.raises(
        UserError, match=r"(?s)reader: decord cannot be used: .*pip install 'vidgen-video-text\[decord\]'"
    ):
        make("a.mp4,x", reader="decord")


def test_an_image_is_one_frame_without_a_rate(make, image):
    sample = make("still.png,green").get(0, 1, (12, 20), rng())
    assert sample.video.shape == (3, 1, 12, 20)
    assert sample.video[:, 0, 5, 7].tolist() == [10, 200, 30]
    assert (sample.text, sample.fps) == ("green", 0.0)


def test_center_halves_images_first_and_resize_crop_does_not(make, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    for name, first in (("center", True), ("resize_crop", False)):
        video = make("noise.png,x", transform_name=name).get(0, 1, (20, 20), rng()).video
        assert (video.numpy() == read_still(tmp_path / "noise.png", (20, 20), halve_first=first)).all()


def test_an_image_where_a_video_is_asked_is_refused_with_the_way_out(make, image, tmp_path):
    with pytest.raises(UserError) as raised:
        make("still.png,green").get(0, 5, (12, 20), rng())
    message = str(raised.value)
    assert "row 0" in message and str(tmp_path / "still.png") in message
    assert "an image where a video is expected" in message
    assert "num_frames: 1" in message and "repeat_images: true" in message


def test_images_are_repeated_on_demand_and_then_count_as_long_enough(make, image):
    dataset = make(
        "still.png,green,1", header="path,text,num_frames", repeat_images=True, context=Context(num_frames=5)
    )
    video = dataset.get(0, 5, (12, 20), rng()).video
    assert video.shape == (3, 5, 12, 20)
    assert (video == video[:, :1]).all()
    assert dataset.table["num_frames"].to_pylist() == [5]


def test_a_clip_that_is_too_short_is_refused_by_row_and_length(make, write_video, tmp_path):
    write_video("a.mp4", 9)
    with pytest.raises(UserError, match=r"row 1 .*a.mp4: it has 9 frames, 10 are asked for"):
        make("a.mp4,x", "a.mp4,y").get(1, 10, SIZE, rng())


def test_a_clip_shorter_than_its_window_gives_closer_frames(make, write_video, numbers_in):
    write_video("a.mp4", 9)
    assert numbers_in(make("a.mp4,x", frame_interval=4).get(0, 5, SIZE, rng()).video) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("name", ["bad.mp4", "bad.jpg"])
def test_media_that_cannot_be_read_fail_with_row_path_and_reason(name, make, write_video, tmp_path):
    write_video("a.mp4", 9)
    (tmp_path / name).write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(RunError) as raised:
        make("a.mp4,x", f"{name},y").get(1, 1, SIZE, rng())
    message = str(raised.value)
    assert "meta.csv, row 1" in message and str(tmp_path / name) in message
    assert "Invalid data" in message or "cannot identify image" in message


def test_a_missing_file_fails_with_row_and_path(make, write_video, tmp_path):
    write_video("a.mp4", 9)
    with pytest.raises(RunError, match=r"row 1 .*gone.mp4: no such file"):
        make("a.mp4,x", "gone.mp4,y").get(1, 1, SIZE, rng())


def test_a_loop_of_links_is_a_missing_file(make, write_video, tmp_path):
    write_video("a.mp4", 9)
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    with pytest.raises(RunError, match=r"row 1 .*loop.mp4: no such file"):
        make("a.mp4,x", "loop.mp4,y").get(1, 1, SIZE, rng())


def test_a_wrong_root_is_noticed_at_once(make, write_video):
    write_video("a.mp4", 9)
    with pytest.raises(UserError, match=r"row 0: no such file: .*b\.mp4. Set `root`"):
        make("b.mp4,x", "a.mp4,x")


def test_root_says_where_paths_start(make, write_video, tmp_path):
    write_video("a.mp4", 9)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "meta.csv").write_text("path,text\na.mp4,x\n")
    options = VideoTextOptions(data_path=tmp_path / "tables" / "meta.csv", root=tmp_path)
    assert build(options, Context()).get(0, 2, SIZE, rng()).text == "x"


def test_captions_may_be_missing_where_no_text_encoder_is(make, write_video):
    write_video("a.mp4", 9)
    dataset = make("a.mp4", header="path")
    assert dataset.get(0, 2, SIZE, rng()).text == ""
    assert dataset.table["text"].to_pylist() == [""]
    with pytest.raises(UserError, match="no text column"):
        make("a.mp4", header="path", context=Context(recipe={"text_encoder": {"type": "t5"}}))


def test_center_makes_squares_only(make, write_video):
    write_video("a.mp4", 9)
    with pytest.raises(UserError, match="center makes square pictures only, and 20x30 are asked for"):
        make("a.mp4,x", transform_name="center", context=Context(image_size=(20, 30)))
    dataset = make("a.mp4,x", transform_name="center")
    assert dataset.get(0, 2, (20, 20), rng()).video.shape == (3, 2, 20, 20)
    with pytest.raises(UserError, match="square"):
        dataset.get(0, 2, (20, 30), rng())


def test_what_the_table_lacks_is_read_from_headers(make, write_video, image):
    write_video("a.mp4", 47)
    rows = make("a.mp4,x", "still.png,y").table.to_pylist()
    assert rows == [
        {"path": "a.mp4", "text": "x", "num_frames": 47, "height": 34, "width": 50, "fps": 30.0},
        {"path": "still.png", "text": "y", "num_frames": 1, "height": 48, "width": 64, "fps": 0.0},
    ]


def test_only_rows_that_lack_something_are_opened(make, write_video, caplog):
    write_video("a.mp4", 47)
    header = "path,text,num_frames,height,width,fps"
    lines = ["a.mp4,x,10,20,30,25", "gone.mp4,y,10,20,30,25", "still-gone.png,z,1,5,6,", "a.mp4,w,,20,-1,nan"]
    with caplog.at_level(logging.INFO, "vidgen_video_text"):
        table = make(*lines, header=header).table
    assert "headers of 1 files" in caplog.text
    assert table["num_frames"].to_pylist() == [10, 10, 1, 47]
    assert table["width"].to_pylist() == [30, 30, 6, 50]
    assert table["fps"].to_pylist() == [25.0, 25.0, 0.0, 30.0]


def test_headers_are_read_once(make, write_video, tmp_path):
    path = write_video("a.mp4", 47)
    dataset = make("a.mp4,x")
    first = dataset.table
    path.unlink()
    assert dataset.table is first


def test_rows_that_cannot_be_read_have_unknown_sizes(make, write_video, tmp_path, caplog):
    write_video("a.mp4", 5)
    (tmp_path / "bad.mp4").write_bytes(b"")
    table = make("a.mp4,x", "bad.mp4,x", "gone.png,x").table
    assert table["height"].to_pylist() == [34, None, None]
    assert table["num_frames"].to_pylist() == [5, None, 1]
    assert "2 of 3 files are missing or have no readable header" in caplog.text


def test_a_worker_started_afresh_gives_the_same_samples(make, write_video):
    write_video("a.mp4", 60)
    dataset = make("a.mp4,x")
    expected = dataset.get(0, 3, SIZE, rng(4)).video
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        given = pool.apply(first_frames, (dataset,))
    assert torch.equal(torch.from_numpy(given), expected)


def first_frames(dataset):
    return dataset.get(0, 3, SIZE, rng(4)).video.numpy()


def test_a_pickle_holds_a_file_name_instead_of_the_table(make, write_video):
    write_video("a.mp4", 9)
    dataset = make(*[f"a.mp4,{'long caption ' * 20}"] * 2000)
    data = pickle.dumps(dataset)
    assert len(data) < 2000
    copy = pickle.loads(data)
    assert copy.get(1999, 2, SIZE, rng()).text == "long caption " * 20


def test_the_file_behind_pickles_goes_with_the_table(make, write_video):
    write_video("a.mp4", 9)
    shared = SharedTable(make("a.mp4,x").table)
    _, (name,) = shared.__reduce__()
    assert Path(name).exists()
    copy = pickle.loads(pickle.dumps(shared))
    del shared
    assert not Path(name).exists()
    assert copy.table["text"].to_pylist() == ["x"]
