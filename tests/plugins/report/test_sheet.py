"""The contact sheet, by its pixels and its plan."""

import re
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageFont
from vidgen_report import ReportOptions
from vidgen_report.clips import spread
from vidgen_report.record import Clip, Samples
from vidgen_report.sheet import GAP, HEADER, MARGIN, draw_sheet, fitted, plan_sheet, wrap

LEVELS = (20, 60, 100, 140, 180)  # grey of the frames of a test clip


def write_clip(path: Path, *, height: int, width: int) -> Clip:
    """A clip of five frames, each of one grey."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for level in LEVELS:
            pixels = np.full((height, width, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return Clip(path.name, "a grey wall", (len(LEVELS), height, width))


def draw(clips: list[Clip], outputs: Path, **options: object) -> Image.Image:
    """The sheet of some clips of step 7."""
    return Image.open(BytesIO(draw_sheet(Samples(7, clips), outputs, ReportOptions(**options))))


def strip_greys(sheet: Image.Image, *, top: int, frames: int, width: int) -> list[int]:
    """Grey in the middle of each frame of the strip at the left edge."""
    grey = sheet.convert("L")
    return [grey.getpixel((MARGIN + i * (width + GAP) + width // 2, top)) for i in range(frames)]


def test_all_frames_of_a_short_clip_stand_side_by_side(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", height=16, width=32)
    sheet = draw([clip], tmp_path)
    plan = plan_sheet([clip], frames=8, columns=None)
    assert plan.frames == 5
    assert plan.width % 32 == 0 and plan.height * 2 == plan.width
    middle = sheet.height - MARGIN - plan.height // 2
    assert strip_greys(sheet, top=middle, frames=5, width=plan.width) == pytest.approx(LEVELS, abs=3)


def test_a_long_clip_is_shown_by_evenly_spaced_frames(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", height=16, width=16)
    sheet = draw([clip], tmp_path, frames=3)
    plan = plan_sheet([clip], frames=3, columns=None)
    middle = sheet.height - MARGIN - plan.height // 2
    assert strip_greys(sheet, top=middle, frames=3, width=plan.width) == pytest.approx((20, 100, 180), abs=3)


def test_frames_are_spread_from_first_to_last() -> None:
    assert spread(17, 8) == [0, 2, 5, 7, 9, 11, 14, 16]
    assert spread(3, 8) == [0, 1, 2]
    assert spread(9, 1) == [4]
    assert spread(0, 8) == []


@pytest.mark.parametrize("side", [16, 24, 32, 48, 64, 256])
def test_48_clips_make_a_sheet_that_fits_a_screen_across(side: int) -> None:
    plan = plan_sheet([Clip(str(i), "", (8, side, side)) for i in range(48)], frames=8, columns=None)
    assert plan.columns == 3
    assert 1500 <= plan.columns * plan.strip_width <= 1900
    assert plan.width == plan.height >= 60


def test_columns_can_be_set() -> None:
    clips = [Clip(str(i), "", (8, 16, 16)) for i in range(6)]
    assert plan_sheet(clips, frames=8, columns=None).columns == 1
    assert plan_sheet(clips, frames=8, columns=5).columns == 5


def test_small_frames_are_enlarged_a_whole_number_of_times_where_that_nearly_fits() -> None:
    assert fitted(16, 16, 70) == (64, 64)
    assert fitted(9, 16, 70) == (64, 36)
    assert fitted(48, 48, 70) == (70, 70)
    assert fitted(720, 1280, 70) == (70, 39)


def test_enlarged_pixels_stay_hard(tmp_path: Path) -> None:
    board = np.indices((6, 10)).sum(axis=0) % 2 * 255
    Image.fromarray(np.repeat(board[..., None], 3, axis=2).astype(np.uint8)).save(tmp_path / "board.png")
    sheet = draw([Clip("board.png", "", (1, 6, 10))], tmp_path).convert("L")
    plan = plan_sheet([Clip("board.png", "", (1, 6, 10))], frames=8, columns=None)
    top = sheet.height - MARGIN - plan.height
    shown = np.asarray(sheet)[top : top + plan.height, MARGIN : MARGIN + plan.width]
    assert set(np.unique(shown)) == {0, 255}
    assert shown.shape == (6 * plan.width // 10, plan.width)


def test_an_unreadable_clip_leaves_a_grey_strip(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    good = write_clip(tmp_path / "a.mp4", height=16, width=16)
    sheet = draw([Clip("bad.mp4", "broken", (5, 16, 16)), good], tmp_path)
    assert sheet.getpixel((MARGIN + 5, MARGIN + HEADER + 18 + 4 + 5)) == (226, 232, 240)


def test_sizes_can_be_mixed_and_the_number_of_clips_is_limited(tmp_path: Path) -> None:
    clips = [
        write_clip(tmp_path / "wide.mp4", height=16, width=48),
        write_clip(tmp_path / "high.mp4", height=48, width=16),
    ]
    both, one = draw(clips, tmp_path), draw(clips, tmp_path, max_clips=1)
    assert both.height > one.height


def test_captions_wrap_and_end_in_an_ellipsis() -> None:
    font = ImageFont.load_default(14)
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert wrap("two words", 500, font, lines=2) == ["two words"]
    assert wrap("", 500, font, lines=2) == []
    first, second = wrap("a red circle moves over the wall and then it comes back", 150, font, lines=2)
    assert re.fullmatch(r"a red [a-z ]+", first) and second.endswith("…")
    assert max(font.getlength(first), font.getlength(second)) <= 150
    (cut,) = wrap("x" * 400, 100, font, lines=2)
    assert cut.endswith("x…") and font.getlength(cut) <= 100
