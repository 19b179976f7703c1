"""Scaling and cutting."""

import pytest
from vidgen_video.fit import Fit, cover


@pytest.mark.parametrize(
    ("source", "size", "fit"),
    [
        ((240, 426), (240, 426), Fit((240, 426), 0, 0, (240, 426))),
        ((240, 320), (120, 120), Fit((120, 160), 0, 20, (120, 120))),
        ((320, 240), (60, 90), Fit((120, 90), 30, 0, (60, 90))),
        ((10, 10), (31, 7), Fit((31, 31), 0, 12, (31, 7))),
        ((1080, 1920), (24, 24), Fit((24, 43), 0, 10, (24, 24))),
    ],
)
def test_a_picture_is_scaled_until_it_covers_and_loses_as_much_on_both_sides(source, size, fit):
    assert cover(source, size) == fit


def test_the_cut_always_lies_within_the_scaled_picture():
    for height in range(1, 60, 7):
        for width in range(1, 60, 5):
            for size in ((9, 4), (5, 23), (31, 31)):
                fit = cover((height, width), size)
                assert fit.top >= 0 and fit.left >= 0
                assert fit.top + size[0] <= fit.scaled[0] and fit.left + size[1] <= fit.scaled[1]
                assert size[0] == fit.scaled[0] or size[1] == fit.scaled[1]
