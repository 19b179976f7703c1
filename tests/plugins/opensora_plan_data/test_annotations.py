"""Annotation files."""

import json
import pickle

import pytest
from vidgen.errors import UserError
from vidgen_opensora_plan_data.annotations import SCHEMA, item_name, read_items
from vidgen_opensora_plan_data.sources import Source

VIDEO = {
    "path": "a/b.mp4",
    "cap": ["one", "two"],
    "resolution": {"height": 20, "width": 30},
    "num_frames": 9,
    "fps": 25,
}


@pytest.fixture
def read(tmp_path):
    """Items of one source, as rows."""

    def of(items, form="json"):
        annotations = tmp_path / f"items.{form}"
        annotations.write_bytes(pickle.dumps(items) if form == "pkl" else json.dumps(items).encode())
        return read_items([Source(tmp_path, annotations)]).to_pylist()

    return of


@pytest.mark.parametrize("form", ["json", "pkl"])
def test_an_item_is_read_with_all_it_says(read, tmp_path, form):
    item = {**VIDEO, "cut": [7, 16], "crop": [1, 11, 2, 22], "aesthetic": 6.5, "aes": 1.0, "other": {}}
    assert read([item], form) == [
        {
            "path": f"{tmp_path}/a/b.mp4",
            "captions": ["one", "two"],
            "height": 20.0,
            "width": 30.0,
            "num_frames": 9.0,
            "fps": 25.0,
            "start": 7.0,
            "crop": [1, 11, 2, 22],
            "aesthetic": 6.5,
            "source": 0,
            "item": 0,
        }
    ]


def test_what_an_item_does_not_say_is_null(read):
    (row,) = read([{"path": "a.jpg", "cap": None, "resolution": None, "aes": 4}])
    assert [name for name, value in row.items() if value is None] == [
        "captions",
        "height",
        "width",
        "num_frames",
        "fps",
        "crop",
    ]
    assert row["start"] == 0 and row["aesthetic"] == 4


def test_a_text_is_a_list_of_one_caption_and_an_empty_list_stays(read):
    rows = read([{**VIDEO, "cap": "one"}, {**VIDEO, "cap": []}, {**VIDEO, "cap": 'with "quotes",\nlines, \U0001f600'}])
    assert [row["captions"] for row in rows] == [["one"], [], ['with "quotes",\nlines, \U0001f600']]


def test_nan_counts_as_missing(read):
    (row,) = read([{**VIDEO, "fps": float("nan"), "resolution": {"height": float("nan"), "width": 3}}])
    assert row["fps"] is None and row["height"] is None and row["width"] == 3


def test_items_of_several_sources_come_in_order_and_are_named(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([VIDEO] * 2))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps([{**VIDEO, "path": "c.mp4"}]))
    sources = [Source(tmp_path, tmp_path / "a.json"), Source(tmp_path / "x", tmp_path / "b.pkl")]
    items = read_items(sources)
    assert items.schema.equals(SCHEMA)
    assert items.column("path").to_pylist() == [f"{tmp_path}/a/b.mp4"] * 2 + [f"{tmp_path}/x/c.mp4"]
    assert item_name(sources, items, 1) == f"{tmp_path}/a.json, item 1 (counting from 0)"
    assert item_name(sources, items, 2) == f"{tmp_path}/b.pkl, item 0 (counting from 0)"


def test_an_empty_list_gives_no_items(read):
    assert read([]) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"path": None}, "path is None, not the name of a file"),
        ({"path": 3}, "path is 3, not the name of a file"),
        ({"path": "../a.mp4"}, "the path '../a.mp4' leads out of"),
        ({"path": "/etc/a.mp4"}, "the path '/etc/a.mp4' leads out of"),
        ({"cap": 3}, "cap is 3, neither a text nor a list of texts"),
        ({"cap": ["a", None]}, r"cap is \['a', None\], neither a text nor a list of texts"),
        ({"resolution": "720p"}, r"resolution is '720p', not \{height, width\}"),
        ({"resolution": {"height": "720"}}, "height is '720', not a number"),
        ({"num_frames": True}, "num_frames is True, not a number"),
        ({"num_frames": 1 << 40}, "num_frames is 1099511627776, not a number of at most 2147483647"),
        ({"fps": float("inf")}, "fps is inf, not a number"),
        ({"aes": "high"}, "aes is 'high', not a number"),
        ({"cut": []}, r"cut is \[\], not \[first frame, frame after the last\]"),
        ({"cut": [-1, 5]}, r"cut is \[-1, 5\]"),
        ({"cut": 3}, "cut is 3"),
        ({"crop": [0, 5, 0]}, r"crop is \[0, 5, 0\], not \[x0, x1, y0, y1\] in whole pixels"),
        ({"crop": [5, 5, 0, 9]}, ".*with x0 < x1 and y0 < y1"),
        ({"crop": [-1, 5, 0, 9]}, r"crop is \[-1, 5, 0, 9\]"),
        ({"crop": [0.5, 5, 0, 9]}, r"crop is \[0.5, 5, 0, 9\]"),
        ({"fps": "x" * 99}, "fps is 'x{59}\\.\\.\\., not a number"),
    ],
)
def test_a_wrong_value_is_refused_with_file_and_item(read, change, text):
    with pytest.raises(
        UserError, match=rf"items\.json, item 1 \(counting from 0\): {text}[^\n]*\n    expected: a list"
    ):
        read([VIDEO, {**VIDEO, **change}])


def test_an_item_without_path_or_of_another_kind_is_refused(read):
    with pytest.raises(UserError, match=r"item 0 .*: it has no path"):
        read([{"cap": "a"}])
    with pytest.raises(UserError, match=r"item 1 .*: 'a.mp4' is no item"):
        read([VIDEO, "a.mp4"])


@pytest.mark.parametrize("path", ["a/../b.mp4", "a..b.mp4", "...mp4"])
def test_dots_that_stay_inside_are_no_harm(read, path):
    assert read([{**VIDEO, "path": path}])[0]["path"].endswith(("/b.mp4", "a..b.mp4", "...mp4"))


def test_an_absolute_path_below_the_root_stays(read, tmp_path):
    assert read([{**VIDEO, "path": f"{tmp_path}/c.mp4"}])[0]["path"] == f"{tmp_path}/c.mp4"


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.json", b"[{]", "Expecting property name"),
        ("a.json", b'{"path": "a.mp4"}', "it holds a dict"),
        ("a.json", b"\xff\xff", "can't decode byte"),
        ("a.json", b"[" * 100_000, "recursion"),
        ("a.json", b'[{"path": "a.mp4", "cap": "\\ud800"}]', "a text in it is no Unicode"),
        ("a.pkl", pickle.dumps({"a": 1}), "it holds a dict"),
        ("a.pkl", b"[1]", "no pickle, or a damaged one"),
        ("a.pkl", pickle.dumps([print]), "it holds builtins.print"),
        ("a.csv", b"path,cap", "its name ends in neither of .json, .pkl"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, name, content, text):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        UserError, match=f"{name} cannot be read as annotations: .*{text}.*\n    expected: a list of items"
    ):
        read_items([Source(tmp_path, tmp_path / name)])
