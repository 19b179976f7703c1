from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from vidgen.errors import RunError, UserError
from vidgen_ui.uploads import LARGEST, Uploads


def picture() -> bytes:
    file = BytesIO()
    Image.new("RGB", (3, 5), (9, 8, 7)).save(file, format="PNG")
    return file.getvalue()


def take(uploads: Uploads, name: str, data: bytes) -> Path:
    return uploads.take(name, BytesIO(data), len(data)).path


def test_a_picture_is_kept_under_a_safe_name_within_the_folder(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "ui")
    for number, name in enumerate(["a.png", "../../b.png", "..\\c.png", "d\0\n.PNG", f"{'ü' * 400}.png"], start=1):
        path = take(uploads, name, picture())
        assert path.parent.parent == tmp_path / "ui" and path.name.startswith(f"{number:04d}-")
        assert path.read_bytes() == picture()
    assert uploads.get(1).kind == "image" and uploads.get(2).name == "../../b.png"


def test_what_is_no_picture_or_video_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    with pytest.raises(UserError, match=r"run\.sh: neither a picture .* nor a video"):
        take(uploads, "run.sh", b"x")
    with pytest.raises(RunError, match="cannot be read"):
        take(uploads, "a.png", b"no picture")
    with pytest.raises(RunError, match="cannot be read"):
        take(uploads, "a.mp4", b"no video")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_that_breaks_off_or_is_too_large_is_refused(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path)
    with pytest.raises(RunError, match="broke off 4 bytes before its end"):
        uploads.take("a.png", BytesIO(picture()), len(picture()) + 4)
    with pytest.raises(UserError, match="bytes; it may have 1 to"):
        uploads.take("a.png", BytesIO(b""), LARGEST + 1)
    with pytest.raises(UserError, match="0 bytes"):
        uploads.take("a.png", BytesIO(b""), 0)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_number_that_was_never_given_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file 3"):
        Uploads(tmp_path).get(3)


def test_two_sessions_in_one_folder_do_not_share_files(tmp_path: Path) -> None:
    paths = {take(Uploads(tmp_path), "a.png", picture()) for _ in range(2)}
    assert len(paths) == 2
