"""Which items become samples."""

import json

import pytest
from vidgen.errors import UserError
from vidgen_opensora_plan_data.annotations import read_items
from vidgen_opensora_plan_data.rules import Rules
from vidgen_opensora_plan_data.selection import counts, refuse_empty, select
from vidgen_opensora_plan_data.sources import Source

VIDEO = {"path": "a.mp4", "cap": ["a"], "resolution": {"height": 48, "width": 64}, "num_frames": 45, "fps": 24}
IMAGE = {"path": "a.jpg", "cap": ["a"], "resolution": {"height": 48, "width": 64}}
SIZE = "resolution"


@pytest.fixture
def pick(tmp_path):
    """The selection of items, by rules that keep `VIDEO` and `IMAGE`."""

    def of(*items, **changes):
        usual = {"num_frames": 45, "train_fps": 24.0, "drop_short_ratio": 1.0, "speed_factor": 1.0, "max_height": 48}
        usual |= {"max_width": 64, "hw_stride": 8, "force_resolution": False, "max_hxw": 3072, "min_hxw": 256}
        rules = Rules(**usual | {"sp_size": 1, "total_batch_size": 0, "ae_stride_t": 4} | changes)
        (tmp_path / "items.json").write_text(json.dumps(items))
        sources = [Source(tmp_path, tmp_path / "items.json")]
        return select(read_items(sources), sources, rules)

    return of


def shapes(selection):
    numbers = (selection.num_frames, selection.height, selection.width)
    return [tuple(int(column[row]) for column in numbers) for row in selection.kept]


def left_out(selection):
    return {word: count for word, count in counts(selection).items() if count}


def test_videos_and_images_become_samples_in_order(pick):
    large = {**IMAGE, SIZE: {"height": 480, "width": 640}}
    selection = pick(VIDEO, large, {**VIDEO, "num_frames": 90, SIZE: {"height": 40, "width": 31}})
    assert shapes(selection) == [(45, 48, 64), (1, 48, 64), (45, 40, 24)]
    assert selection.available.tolist() == [45, 0, 90]
    assert left_out(selection) == {}


@pytest.mark.parametrize(
    ("item", "word"),
    [
        ({**VIDEO, "cap": None}, "no_cap"),
        ({**IMAGE, SIZE: None}, "no_resolution"),
        ({**IMAGE, SIZE: {"height": 48}}, "no_resolution"),
        ({**VIDEO, SIZE: {"height": -48, "width": 64}}, "no_resolution"),
        ({**VIDEO, SIZE: {"height": 7, "width": 64}}, "cnt_vid_res_mismatch_stride"),
        ({**IMAGE, SIZE: {"height": 8, "width": 16}}, "cnt_img_res_too_small"),
        ({**IMAGE, SIZE: {"height": 16, "width": 40}}, "cnt_img_aspect_mismatch"),
        ({**VIDEO, "num_frames": 226}, "too_long"),
        ({**VIDEO, "num_frames": 44}, "too_short"),
        ({**VIDEO, "num_frames": -3}, "too_short"),
        ({**VIDEO, "fps": 0}, "too_long"),
    ],
)
def test_each_item_is_left_out_for_its_reason(pick, item, word):
    selection = pick(VIDEO, item, IMAGE)
    assert left_out(selection) == {word: 1}
    assert selection.kept.tolist() == [0, 2]


def test_an_item_without_captions_passes_when_its_list_is_there(pick):
    assert len(pick({**VIDEO, "cap": []}).kept) == 1


def test_short_clips_stay_when_they_may_as_long_as_the_autoencoder_takes_them(pick):
    clips = [{**VIDEO, "num_frames": frames} for frames in (28, 29, 32, 33, 44, 45)]
    selection = pick(*clips, drop_short_ratio=0.0)
    assert [frames for frames, _, _ in shapes(selection)] == [29, 29, 33, 41, 45]
    assert left_out(selection) == {"too_short": 1}


def test_a_share_of_the_short_clips_stays_and_always_the_same(pick):
    short = [{**VIDEO, "num_frames": 40}] * 200
    half, more = (set(pick(*short, drop_short_ratio=ratio).kept.tolist()) for ratio in (0.5, 0.2))
    assert 70 < len(half) < 130 < len(more) < 180
    assert half < more
    assert half == set(pick(*short, drop_short_ratio=0.5).kept.tolist())


def test_a_forced_size_is_that_of_all_and_ratios_are_its_own(pick):
    tall, flat = {**IMAGE, SIZE: {"height": 160, "width": 30}}, {**IMAGE, SIZE: {"height": 3, "width": 4}}
    none = {**IMAGE, SIZE: {"height": 9, "width": 0}}
    selection = pick(VIDEO, tall, flat, none, force_resolution=True, max_hxw=None, max_height=24, max_width=40)
    assert shapes(selection) == [(45, 24, 40), (1, 24, 40)]
    assert left_out(selection) == {"cnt_img_aspect_mismatch": 2}


def test_rare_shapes_are_left_out(pick):
    items = [VIDEO] * 8 + [IMAGE] * 7 + [{**IMAGE, SIZE: {"height": 40, "width": 64}}]
    assert shapes(pick(*items, total_batch_size=2)) == [(45, 48, 64)] * 8
    assert left_out(pick(*items, total_batch_size=2)) == {"cnt_filter_minority": 8}
    assert len(pick(*items, total_batch_size=1).kept) == 15
    assert len(pick(*items, total_batch_size=0).kept) == 16


def test_a_file_that_is_neither_video_nor_image_is_refused_when_it_would_be_kept(pick):
    with pytest.raises(
        UserError, match=r"items\.json, item 1 .*a\.avi is neither a video \(\.mp4\) nor an image \(\.jpg\)"
    ):
        pick(VIDEO, {**VIDEO, "path": "a.avi"})
    assert len(pick(VIDEO, {**VIDEO, "path": "a.avi", "cap": None}).kept) == 1
    assert len(pick(VIDEO, {**VIDEO, "path": "a.avi"}, video_endings=(".mp4", ".avi")).kept) == 2


def test_a_video_without_a_number_of_frames_is_refused(pick):
    item = {key: value for key, value in VIDEO.items() if key != "num_frames"}
    with pytest.raises(UserError, match=r"items\.json, item 1 .*a\.mp4 has no num_frames"):
        pick(VIDEO, item)


def test_a_video_without_a_rate_counts_as_24_frames_a_second(pick):
    item = {key: value for key, value in VIDEO.items() if key != "fps"}
    assert shapes(pick(item)) == [(45, 48, 64)]


def test_no_sample_at_all_is_refused_with_the_reasons_counted(pick):
    selection = pick({**VIDEO, "num_frames": 9}, {**IMAGE, "cap": None}, {**VIDEO, "num_frames": 3})
    with pytest.raises(UserError) as error:
        refuse_empty(selection, "my/data.txt")
    assert [line.split(maxsplit=1) for line in str(error.value).splitlines()[:-1]] == [
        ["my/data.txt:", "no item becomes a sample:"],
        ["3", "items"],
        ["1", "- without captions (cap)"],
        ["2", "- videos too short"],
        ["0", "samples"],
    ]


def test_no_item_at_all_is_refused(pick):
    with pytest.raises(UserError, match="0  items"):
        refuse_empty(pick(), "data.txt")
