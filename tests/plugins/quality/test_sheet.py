"""Contact sheets."""

import pytest
import torch
from vidgen_quality.sheet import contact_sheet, spread


def test_a_sheet_shows_real_over_reconstructed_and_beside_it() -> None:
    """Two clips of 5 and 2 frames, three frames of each, twice as large."""
    real, made = torch.zeros(3, 5, 4, 6, dtype=torch.uint8), torch.full((3, 5, 4, 6), 100, dtype=torch.uint8)
    short = real[:, :2], made[:, :2]
    strip = 3 * 12 + 2 * 2
    over = contact_sheet([(real, made), short], 3, "over", upscale=2)
    assert over.shape == (3, 1, 2 * (2 * 8 + 4) + 8, strip)
    assert over[0, 0, 0, 0] == 0 and over[0, 0, 12, 0] == 100 and over[0, 0, 9, 0] == 255 and over[0, 0, 30, -1] == 255
    beside = contact_sheet([(real, made), short], 3, "beside", upscale=2)
    assert beside.shape == (3, 1, 2 * 8 + 8, 2 * strip + 12)
    assert beside[0, 0, 0, 0] == 0 and beside[0, 0, 0, -1] == 100


def test_numbers_are_spread_from_the_first_to_the_last() -> None:
    assert [spread(9, 3), spread(3, 9), spread(5, 1), spread(0, 4), spread(4, 0)] == [[0, 4, 8], [0, 1, 2], [0], [], []]


def test_a_sheet_takes_the_first_the_middle_and_the_last_frame() -> None:
    numbered = torch.arange(5, dtype=torch.uint8).view(1, 5, 1, 1).expand(3, 5, 1, 1)
    sheet = contact_sheet([(numbered, numbered)], 3, "over")
    assert sheet[0, 0, 0].tolist() == [0, 255, 255, 2, 255, 255, 4]


def test_captions_are_written_over_their_clips() -> None:
    """Two clips of one frame, the second one wider: 16 rows of caption, 5 of clip and 8 of white between."""
    narrow, wide = torch.zeros(3, 1, 5, 40, dtype=torch.uint8), torch.zeros(3, 1, 5, 70, dtype=torch.uint8)
    sheet = contact_sheet([[narrow], [wide]], 1, "over", captions=["l", "one that is\nmuch too long for it"])
    assert sheet.shape == (3, 1, 2 * (16 + 5) + 8, 70)
    first, second = sheet[0, 0, :16], sheet[0, 0, 29:45]
    assert 0 < (first < 128).sum() < (second < 128).sum()
    assert (first[:, 20:] == 255).all() and (sheet[0, 0, 16:21, :40] == 0).all()


def test_every_clip_needs_its_caption() -> None:
    clip = torch.zeros(3, 1, 5, 40, dtype=torch.uint8)
    with pytest.raises(ValueError, match="zip"):
        contact_sheet([[clip], [clip]], 1, "over", captions=["one"])
