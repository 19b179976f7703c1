"""Sizes of samples."""

import numpy as np
import pytest
from vidgen_opensora_plan_data.sizes import Box, fit_to_area, fit_to_size, in_ratios, limited, to_stride


def test_a_size_within_the_area_stays_and_a_larger_one_keeps_its_ratio():
    height, width = limited([30, 100, 100], [40, 400, 10], 1200)
    assert height.tolist() == [30, 17, 100] and width.tolist() == [40, 69, 10]


def test_sizes_go_down_to_the_stride():
    assert to_stride(np.array([31.0, 32.0, 63.0, 65.0]), 32).tolist() == [0, 32, 32, 64]


@pytest.mark.parametrize(
    ("height", "width", "inside"), [(2, 1, True), (1, 2, True), (201, 100, False), (0, 0, False), (-2, -2, False)]
)
def test_ratios_include_both_ends_and_no_side_may_be_missing(height, width, inside):
    assert in_ratios(height, width, 0.5, 2.0) == inside


def test_an_area_is_resized_to_and_the_middle_is_cut_out():
    fit = fit_to_area((70, 91), max_hxw=1600, stride=8)
    assert fit.before == Box(0, 0, 70, 91)
    assert fit.resized == (35, 45)
    assert fit.after == Box(1, 2, 32, 40)


def test_a_forced_size_is_cut_to_ratio_first():
    fit = fit_to_size((70, 91), (20, 10))
    assert fit.before == Box(0, 28, 70, 35)
    assert fit.resized == (20, 10) and fit.after == Box(0, 0, 20, 10)
    assert fit_to_size((91, 70), (10, 20)).before == Box(28, 0, 35, 70)
