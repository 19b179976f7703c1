"""The list of sources."""

from pathlib import Path

import pytest
from vidgen.errors import UserError
from vidgen_opensora_plan_data.sources import Source, read_sources


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "more media").mkdir()
    for name in ("a.json", "b.pkl"):
        (tmp_path / name).touch()
    return tmp_path


def write(folder: Path, text: str) -> Path:
    listed = folder / "data.txt"
    listed.write_text(text)
    return listed


def test_sources_are_read_in_order_without_blank_lines(folder):
    listed = write(folder, f"\n{folder}/media,{folder}/a.json\n   \n\n more media , b.pkl \n")
    assert read_sources(listed) == [
        Source(folder / "media", folder / "a.json"),
        Source(folder / "more media", folder / "b.pkl"),
    ]


def test_relative_paths_start_from_the_lists_folder_else_from_the_current_one(folder, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "media").mkdir()
    (elsewhere / "c.json").touch()
    monkeypatch.chdir(elsewhere)
    (source,) = read_sources(write(folder, "media,c.json"))
    assert source == Source(folder / "media", elsewhere / "c.json")


@pytest.mark.parametrize("line", ["media", "media,", ",a.json", "media,a.json,b.pkl", "media;a.json"])
def test_a_line_of_another_form_is_refused_with_file_and_line(folder, line):
    listed = write(folder, f"media,a.json\n\n{line}\n")
    with pytest.raises(UserError) as error:
        read_sources(listed)
    assert str(error.value) == (
        f"{listed}:3: {line!r} is no source\n"
        "    expected on each line: folder of the media,annotation file (.json or .pkl)"
    )


@pytest.mark.parametrize(
    ("line", "text"), [("no,a.json", "1: no such folder: .*/no\n"), ("media,no.json", "1: no such file: .*/no.json\n")]
)
def test_what_is_not_there_is_named(folder, line, text):
    with pytest.raises(UserError, match=text):
        read_sources(write(folder, line))


def test_a_list_that_is_missing_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"data\.txt cannot be read as a list of sources: .*No such file"):
        read_sources(tmp_path / "data.txt")


def test_a_list_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "data.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="cannot be read as a list of sources"):
        read_sources(tmp_path / "data.txt")


def test_a_list_without_a_source_is_refused(tmp_path):
    with pytest.raises(UserError, match="lists no source"):
        read_sources(write(tmp_path, "\n \n"))
