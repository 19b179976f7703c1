"""Which frames of a clip a sample takes."""

import numpy as np
import pytest
from vidgen_opensora_plan_data.frames import (
    Clip,
    count_resampled,
    last_begin,
    least_usable,
    resample,
    sped_up,
    speed,
    step_of,
    usable_frames,
    window,
)


def test_twice_the_rate_repeats_every_frame_and_half_the_rate_leaves_out_every_other():
    assert resample(Clip(3, 3, 12), 24).tolist() == [3, 3, 4, 4, 5, 5]
    assert resample(Clip(3, 5, 48), 24).tolist() == [3, 5, 7]


def test_a_rate_that_is_nearly_the_one_wanted_takes_every_frame():
    assert step_of([23.976, 24.05, 23.8], 24).tolist() == [1, 1, 23.8 / 24]


def test_frames_are_counted_as_they_are_taken():
    clips = [(frames, fps) for frames in range(1, 90) for fps in (7, 23.976, 25, 29.97, 60, 120)]
    counted = count_resampled(*zip(*clips, strict=True), 24)
    assert counted.tolist() == [len(resample(Clip(0, frames, fps), 24)) for frames, fps in clips]


@pytest.mark.parametrize(("frames", "fps"), [(0, 24), (-5, 24), (9, 0), (9, -24)])
def test_a_clip_that_cannot_be_has_no_frames(frames, fps):
    assert count_resampled([frames], [fps], 24).tolist() == [0]


def test_usable_frames_make_whole_latent_frames_for_every_rank():
    for stride, sp_size in ((4, 1), (4, 2), (8, 1), (3, 5)):
        for available in range(1, 120):
            wanted = [
                y for y in range(29, available + 1) if (y - 1) % stride == 0 and ((y - 1) // stride + 1) % sp_size == 0
            ]
            assert usable_frames(available, stride, sp_size) == max(wanted, default=0)


def test_the_least_usable_number_is_the_first_that_stays():
    for stride, sp_size in ((4, 1), (4, 2), (8, 1), (3, 5), (1, 1)):
        least = least_usable(stride, sp_size)
        assert usable_frames(least, stride, sp_size) == least and usable_frames(least - 1, stride, sp_size) == 0


def test_a_clip_is_sped_up_as_far_as_it_lasts():
    indices = np.arange(10, 50)
    assert sped_up(indices, 20, 2.0).tolist() == sped_up(indices, 20, 3.0).tolist()
    assert len(sped_up(indices, 20, 1.6)) == 25
    assert sped_up(indices, 20, 2.0)[[0, -1]].tolist() == [10, 49]
    assert speed(40, 20, 3.0) == 2.0 and speed(40, 20, 1.6) == 1.6


@pytest.mark.parametrize(("wanted", "factor"), [(20, 1.0), (40, 2.0), (41, 2.0)])
def test_a_clip_without_frames_to_spare_keeps_them_all(wanted, factor):
    indices = np.arange(40)
    assert sped_up(indices, wanted, factor) is indices
    assert speed(40, wanted, factor) == 1


def test_no_frame_is_lost_to_rounding():
    """29 of 37 frames: 37 / (37 / 29) is 28.99..."""
    assert len(sped_up(np.arange(37), 29, 9.0)) == 28
    assert len(sped_up(np.arange(37), 29, 9.0, at_least=29)) == 29


def test_a_window_lies_where_it_is_drawn():
    asked = []
    made = window(np.arange(100, 112), 5, lambda last: asked.append(last) or 3)
    assert made.tolist() == [103, 104, 105, 106, 107]
    assert asked == [6] == [last_begin(12, 5)]


def test_nothing_is_drawn_where_there_is_one_window():
    assert window(np.arange(5), 5, lambda last: pytest.fail("drawn")).tolist() == [0, 1, 2, 3, 4]
