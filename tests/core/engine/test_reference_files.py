"""What shape references have, without reading more of them than is needed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from vidgen import RunError, UserError
from vidgen.engine import media, source_clip
from vidgen.engine.reference_files import ReferenceFiles, upright_size

SIDEWAYS = 6  # Exif: to be turned by a quarter


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    """A picture of 6 rows and 10 columns, as it is stored."""

    def write(name: str, orientation: int = 1) -> Path:
        exif = Image.Exif()
        exif[274] = orientation
        Image.new("RGB", (10, 6), (200, 40, 90)).save(tmp_path / name, exif=exif)
        return tmp_path / name

    return write


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return media.write(tmp_path / "video", torch.zeros(3, 5, 8, 14, dtype=torch.uint8), 8.0, {})


@pytest.mark.parametrize("name", ["p.jpg", "p.png", "p.webp", "p.tiff"])
@pytest.mark.parametrize("orientation", [1, 3, SIDEWAYS, 8])
def test_a_picture_is_as_large_as_when_it_is_read(picture: Callable[..., Path], name: str, orientation: int) -> None:
    path = picture(name, orientation)
    (read,) = source_clip.still_pictures(path)
    assert upright_size(path) == read.shape[:2] == ((10, 6) if orientation >= SIDEWAYS else (6, 10))


def test_of_a_video_only_the_first_frame_is_looked_at(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, looked = source_clip.video_pictures(video), []

    def watched(path: Path) -> Iterator[np.ndarray]:
        for frame in frames:
            looked.append(path)
            yield frame

    monkeypatch.setattr("vidgen.engine.source_clip.video_pictures", watched)
    assert upright_size(video) == (8, 14) and looked == [video]


def test_a_file_that_is_asked_for_again_is_not_read_again(picture: Callable[..., Path]) -> None:
    path, files = picture("p.png"), ReferenceFiles(folders=(), limits=None)
    assert files.size(str(path)) == (6, 10)
    path.unlink()
    assert files.size(str(path)) == (6, 10)


def test_what_cannot_be_read_or_found_is_told(tmp_path: Path) -> None:
    for name in ("p.png", "v.mp4"):
        (tmp_path / name).write_bytes(b"no picture")
        with pytest.raises(RunError, match=rf"{name} cannot be read as a picture or video"):
            upright_size(tmp_path / name)
    files = ReferenceFiles(folders=(tmp_path,), limits=None)
    assert files.opened("p.png").__enter__() == tmp_path / "p.png"
    with pytest.raises(UserError, match=r"reference gone\.png: no such file \(looked for gone\.png and "):
        files.size("gone.png")
    with pytest.raises(UserError, match="lies on another machine: set allow_download: true, or give a file"):
        files.size("https://a.example/b.png")
