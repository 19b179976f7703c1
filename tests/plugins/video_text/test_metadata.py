"""Tables of samples, well-formed and not."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from vidgen.errors import UserError
from vidgen_video_text.metadata import check_inside, read_table

CAPTION = 'she says "hi",\nthen, 🎬 leaves'


def written(tmp_path, text, name="meta.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_open_soras_columns_are_read_and_the_rest_left_alone(tmp_path):
    text = (
        "path,text,num_frames,height,width,aspect_ratio,fps,resolution,aes\n"
        "a/b.mp4,a cat,280,256,340,0.75,29.97,87040,good\n"
        "c.jpg,a dog,1,180,320,0.56,0,57600,5\n"
    )
    table = read_table(written(tmp_path, text))
    assert table.to_pylist() == [
        {"path": "a/b.mp4", "text": "a cat", "num_frames": 280, "height": 256, "width": 340, "fps": 29.97},
        {"path": "c.jpg", "text": "a dog", "num_frames": 1, "height": 180, "width": 320, "fps": None},
    ]
    assert [str(field.type) for field in table.schema] == ["string", "string", "int32", "int32", "int32", "double"]


def test_the_same_table_is_read_from_csv_parquet_and_json_lines(tmp_path):
    rows = [
        {"path": "a.mp4", "text": CAPTION, "num_frames": 60, "fps": 30.0},
        {"path": "b.mp4", "text": "", "num_frames": None, "fps": None},
    ]
    quoted = CAPTION.replace('"', '""')
    csv = written(tmp_path, f'path,text,num_frames,fps\na.mp4,"{quoted}",60,30\nb.mp4,,,\n')
    parquet = tmp_path / "meta.parquet"
    pa.parquet.write_table(pa.table({**pa.Table.from_pylist(rows).to_pydict(), "other": [[1], [2, 3]]}), parquet)
    escaped = CAPTION.replace('"', '\\"').replace("\n", "\\n")
    first = f'{{"path": "a.mp4", "text": "{escaped}", "num_frames": 60, "fps": 30.0, "x": {{"y": 1}}}}'
    jsonl = written(tmp_path, first + '\n{"path": "b.mp4"}\n', "meta.jsonl")
    assert [read_table(path).to_pylist() for path in (csv, parquet, jsonl)] == [rows] * 3
    assert read_table(csv).schema == read_table(parquet).schema == read_table(jsonl).schema


@pytest.mark.parametrize("name", ["meta.csv", "meta.jsonl", "meta.parquet"])
def test_sizes_follow_from_resolution_and_aspect_ratio_where_only_these_are_known(name, tmp_path):
    rows = [
        {"path": "a.mp4", "resolution": 87040.0, "aspect_ratio": 0.752941, "height": None, "width": None},
        {"path": "b.mp4", "resolution": 57600.0, "aspect_ratio": 0.5625, "height": 90.0, "width": None},
        {"path": "c.mp4", "resolution": 57600.0, "aspect_ratio": -1.0, "height": None, "width": None},
        {"path": "d.mp4", "resolution": None, "aspect_ratio": 2.0, "height": None, "width": 7.0},
    ]
    path, table = tmp_path / name, pa.Table.from_pylist(rows)
    if name == "meta.csv":
        pa.csv.write_csv(table, path)
    elif name == "meta.parquet":
        pa.parquet.write_table(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = read_table(path)
    assert read.column_names == ["path", "height", "width"]
    assert read["height"].to_pylist() == [256, 90, None, None]
    assert read["width"].to_pylist() == [340, 320, None, 7]
    assert str(read["height"].type) == str(read["width"].type) == "int32"


def test_a_table_without_sizes_gets_them_from_its_shapes(tmp_path):
    table = read_table(written(tmp_path, "path,text,aspect_ratio,fps,resolution\na.mp4,x,0.5,25,5000\n"))
    assert table.to_pylist() == [{"path": "a.mp4", "text": "x", "height": 50, "width": 100, "fps": 25.0}]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    table = read_table(written(tmp_path, "\ufeffpath,text\r\na.mp4,x\r\nb.mp4,y\r\n"))
    assert table.to_pylist() == [{"path": "a.mp4", "text": "x"}, {"path": "b.mp4", "text": "y"}]


def test_words_that_mean_nothing_elsewhere_are_captions_here(tmp_path):
    texts = ["NULL", "nan", "NA", "123", "true"]
    table = read_table(written(tmp_path, "path,text\n" + "".join(f"a.mp4,{text}\n" for text in texts)))
    assert table["text"].to_pylist() == texts


def test_numbers_that_cannot_be_are_taken_as_unknown(tmp_path):
    text = "path,num_frames,height,width,fps\n" + "".join(
        f"a.mp4,{bad},{bad},{bad},{bad}\n" for bad in ("nan", "NaN", "inf", "-3", "0", "", "None", "1e300")
    )
    table = read_table(written(tmp_path, text))
    for name in ("num_frames", "height", "width"):
        assert table[name].to_pylist() == [None] * 8
    assert table["fps"].null_count >= 7


def test_counts_written_with_a_decimal_point_are_counts(tmp_path):
    assert read_table(written(tmp_path, "path,num_frames\na.mp4,60.0\n"))["num_frames"].to_pylist() == [60]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("meta.csv", "", "it has no columns"),
        ("meta.csv", "path,text\n", "it has no rows"),
        ("meta.csv", "paths,text\na.mp4,x\n", "no column 'path' (did you mean paths?)"),
        ("meta.csv", "a.mp4,a cat\nb.mp4,a dog\n", "no column 'path' (known: a cat, a.mp4)"),
        ("meta.csv", "path,text,path\na,b,c\n", "the column 'path' twice"),
        ("meta.csv", "path,text\na.mp4,x\n,y\n", "row 1 (counting from 0) has no path"),
        ("meta.csv", "path,text\na.mp4,x\nb.mp4,y,z\n", "Row #3: Expected 2 columns, got 3: b.mp4,y,z"),
        ("meta.csv", "path,num_frames\na.mp4,many\n", "Row #2: CSV conversion error to double: invalid value 'many'"),
        ("meta.csv", b"path,text\na.mp4,caf\xe9\n", "'utf-8' codec can't decode"),
        ("meta.csv", b"path,text\n" + b"a.mp4,x\n" * 50_000 + b"a.mp4,caf\xe9\n", "invalid UTF8 data"),
        ("meta.jsonl", "", "Empty JSON"),
        ("meta.jsonl", '{"path": "a.mp4"\n', "JSON parse error"),
        ("meta.jsonl", '{"path": "a.mp4", "num_frames": "60"}\n', "Column(/num_frames) changed from number to string"),
        ("meta.jsonl", '{"text": "a cat"}\n', "no column 'path'"),
        ("meta.jsonl", '{"path": "a.mp4"}\n{"text": "x"}\n', "row 1 (counting from 0) has no path"),
        ("meta.parquet", "path,text\na.mp4,x\n", "Parquet magic bytes not found"),
        ("meta.txt", "a.mp4\n", "its name ends in neither of .csv, .parquet, .jsonl"),
    ],
)
def test_what_is_no_table_is_refused_by_name_and_reason(name, text, reason, tmp_path):
    path = written(tmp_path, text, name)
    with pytest.raises(UserError) as raised:
        read_table(path)
    message = str(raised.value)
    assert message.startswith(f"{path} cannot be read as a table of samples")
    assert reason in message
    assert "expected: a table" in message and "with a column path" in message


@pytest.mark.parametrize("bad", ["../secret.mp4", "a/../../secret.mp4", "/etc/passwd", "/data/clips2/a.mp4"])
def test_paths_that_lead_out_of_the_root_are_refused(bad, tmp_path):
    root = tmp_path.__class__("/data/clips")
    with pytest.raises(UserError, match=r"row 1 \(counting from 0\).* leads out of /data/clips"):
        check_inside(tmp_path / "meta.csv", pa.table({"path": ["a.mp4", bad]}), root)


def test_paths_that_stay_within_the_root_are_not(tmp_path):
    root = tmp_path.__class__("/data/clips")
    paths = ["a.mp4", "a/../b.mp4", "/data/clips/a.mp4", "a..b.mp4", "...mp4"]
    check_inside(tmp_path / "meta.csv", pa.table({"path": paths}), root)
    check_inside(tmp_path / "meta.csv", pa.table({"path": ["/etc/passwd"]}), tmp_path.__class__("/"))


def test_a_table_of_several_blocks_is_read_whole(tmp_path):
    """Quoted line breaks fall onto block ends."""
    caption = "x\n" * 400
    text = "path,text\n" + f'a.mp4,"{caption}"\n' * 45_000
    table = read_table(written(tmp_path, text))
    assert table.num_rows == 45_000
    assert table["text"].num_chunks > 1
    assert set(table["text"].unique().to_pylist()) == {caption}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_caption_that_is_no_utf8_is_refused_with_the_file(tmp_path: Path, suffix: str) -> None:
    path, caption = tmp_path / f"meta{suffix}", "caf\u00e9".encode("latin-1")
    if suffix == ".parquet":
        texts = pa.array([caption]).view(pa.binary()).view(pa.string())
        pa.parquet.write_table(pa.table({"path": ["a.mp4"], "text": texts}), path)
    else:
        path.write_bytes(
            b"path,text\na.mp4," + caption if suffix == ".csv" else b'{"path": "a.mp4", "text": "' + caption + b'"}\n'
        )
    with pytest.raises(UserError, match=rf"meta{suffix} cannot be read as a table of samples"):
        read_table(path)
