"""The walk of rows through the levels, against a plain reading of its description, one row at a time."""

import numpy as np
import pytest
from vidgen_bucket.levels import buckets_of, walk
from vidgen_bucket.place import BLOCKED, NOT_DRAWN, SHORT, SMALL, STILL, UNKNOWN, Shapes, place

CONFIG = {
    "144p": {1: (0.5, 5), 16: (1.0, 3), 51: ((0.9, 0.4), 2)},
    256: {1: (0.7, 4), 16: (0.6, 2), 32: (0.0, None)},
    "480p": {16: (0.3, 1), 51: ((0.5, 0.5), 1)},
    "720p": {1: (0.2, 2)},
}


def one_by_one(levels, row, interval, draw):
    """The name of a row's bucket, None for none."""
    frames, height, width = row
    for level in levels:
        table = level.resolution
        if height * width < 0.8 * table.pixels:
            continue
        for entry in level.entries:
            if (frames == 1) != (entry.frames == 1):
                continue
            if frames > 1 and entry.use is not None and draw(entry.number, 0) > entry.use:
                continue
            if frames == 1 or frames > entry.frames * interval:
                second = frames > 1 and entry.use is not None
                if entry.keep >= 1 or draw(entry.number, int(second)) < entry.keep:
                    key = table.closest_ratio(height, width)
                    return f"{table.name} {entry.frames} frame{'s' * (entry.frames > 1)} {key}"
                break
    return None


@pytest.mark.parametrize("interval", [1, 3])
def test_rows_go_where_a_plain_reading_sends_them(interval):
    draw = np.random.default_rng(0)
    rows = np.stack([draw.choice([1, 2, 17, 33, 49, 52, 154, 400], 999), *draw.integers(100, 1500, (2, 999))]).astype(
        np.float64
    )
    numbers = draw.random((20, 2, 999))
    levels = walk(CONFIG)
    made = place(levels, shapes(rows.T), interval, lambda rows, number, draw: numbers[number, draw, rows])
    buckets = buckets_of(levels)
    assert len({buckets[one].name for one in made.bucket if one >= 0}) > 60
    for row, bucket in enumerate(made.bucket):
        wanted = one_by_one(levels, rows[:, row], interval, lambda number, which, row=row: numbers[number, which, row])
        assert (None if bucket < 0 else buckets[bucket].name) == wanted, rows[:, row]


def test_resolutions_of_equal_pixels_keep_the_order_of_the_config():
    entry = {1: (1.0, 1)}
    assert [level.resolution.name for level in walk({"4k": entry, 2880: entry})] == ["4k", "2880"]
    assert [level.resolution.name for level in walk({2880: entry, "144p": entry, "4k": entry})] == [
        "2880",
        "4k",
        "144p",
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((17, 100, 100), SMALL),
        ((np.nan, 720, 1280), UNKNOWN),
        ((17, np.nan, 1280), UNKNOWN),
        ((17, 720, np.inf), UNKNOWN),
        ((0, 720, 1280), UNKNOWN),
        ((17, -720, -1280), UNKNOWN),
        ((1, 720, 1280), STILL),
        ((16, 720, 1280), SHORT),
        ((33, 720, 1280), BLOCKED),
        ((20, 720, 1280), NOT_DRAWN),
        ((20, 240, 426), -1),
    ],
)
def test_a_row_without_bucket_has_the_reason_that_came_closest(row, reason):
    config = {"240p": {16: (1.0, 1)}, "720p": {16: (0.5, 1), 32: (0.0, None)}}
    if reason in (BLOCKED, NOT_DRAWN):
        del config["240p"]
    made = place(walk(config), shapes([row]), 1, lambda rows, number, draw: np.full(len(rows), 0.5))
    assert (made.reason.item(), made.bucket.item() >= 0) == (reason, reason == -1)


def test_the_second_probability_sends_videos_on_to_fewer_frames():
    levels = walk({"240p": {16: (1.0, 1), 51: ((1.0, 0.25), 1)}})
    rows = shapes([(60, 240, 426)] * 3)
    made = place(levels, rows, 1, lambda rows, number, draw: np.array([0.2, 0.25, 0.26])[rows])
    assert [buckets_of(levels)[one].num_frames for one in made.bucket] == [51, 51, 16]


def test_a_probability_of_0_shuts_out_long_videos():
    levels = walk({"240p": {16: (1.0, 4), 51: (0.0, None)}})
    made = place(levels, shapes([(51, 240, 426), (52, 240, 426)]), 1, lambda *_: np.array([]))
    assert made.bucket.tolist()[1] == -1 and made.bucket.tolist()[0] >= 0


def shapes(rows):
    frames, height, width = np.array(rows, np.float64).T
    return Shapes(frames=frames, height=height, width=width)
