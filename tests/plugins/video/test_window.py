"""Which frames a sample takes."""

import numpy as np
import pytest
from vidgen_video.window import TooShort, last_start, random_window, window_indices

# total, num_frames, frame_interval, start, last start, indices: recorded from Open-Sora 1.2's temporal random crop
CASES = [
    (60, 16, 1, 0, 43, list(range(16))),
    (60, 16, 1, 43, 43, list(range(43, 59))),
    (60, 16, 3, 4, 11, [4, 7, 10, 13, 16, 19, 22, 25, 29, 32, 35, 38, 41, 44, 47, 51]),
    (49, 16, 3, 0, 0, [0, 3, 6, 9, 12, 15, 18, 21, 25, 28, 31, 34, 37, 40, 43, 47]),
    (48, 16, 3, 0, 0, [0, 3, 6, 9, 12, 15, 18, 21, 25, 28, 31, 34, 37, 40, 43, 47]),
    (20, 16, 3, 0, 0, [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 15, 16, 17, 19]),
    (17, 16, 1, 0, 0, list(range(16))),
    (16, 16, 1, 0, 0, list(range(16))),
    (120, 51, 2, 9, 17, [*range(9, 109, 2), 110]),
]


@pytest.mark.parametrize(("total", "num_frames", "interval", "start", "last", "indices"), CASES)
def test_a_window_takes_the_frames_that_open_sora_takes(total, num_frames, interval, start, last, indices):
    assert window_indices(total, num_frames, interval, start).tolist() == indices
    assert last_start(total, num_frames, interval) == last


def test_windows_start_anywhere_from_the_first_to_the_last_start_both_included():
    rng = np.random.default_rng(0)
    starts = {int(random_window(24, 5, 4, rng)[0]) for _ in range(200)}
    assert starts == set(range(last_start(24, 5, 4) + 1)) == {0, 1, 2, 3}


def test_a_clip_with_fewer_frames_than_asked_for_is_too_short():
    with pytest.raises(TooShort, match="15 frames, 16 are asked"):
        random_window(15, 16, 1, np.random.default_rng(0))


def test_one_frame_can_be_any_but_the_last():
    """The rule's own quirk: the last start lies one before the last possible one."""
    rng = np.random.default_rng(3)
    assert {int(random_window(4, 1, 1, rng)[0]) for _ in range(100)} == {0, 1, 2}
