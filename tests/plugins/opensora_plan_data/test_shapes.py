"""Shapes in a table."""

import numpy as np
from vidgen_opensora_plan_data.shapes import shapes_of


def test_shapes_are_numbered_as_they_appear():
    frames, height, width = np.array([9, 1, 9, 9]), np.array([8, 8, 8, 16]), np.array([16, 16, 16, 8])
    shapes = shapes_of(frames, height, width, among=np.array([1, 2, 4, 5]), rows=6)
    assert shapes.sizes.tolist() == [[9, 8, 16], [1, 8, 16], [9, 16, 8]]
    assert shapes.of_row.tolist() == [-1, 0, 1, -1, 0, 2]
    assert [rows.tolist() for rows in shapes.members()] == [[1, 4], [2], [5]]


def test_no_rows_have_no_shapes():
    none = np.empty(0, np.int64)
    shapes = shapes_of(none, none, none, among=none, rows=3)
    assert len(shapes.sizes) == 0 and shapes.of_row.tolist() == [-1] * 3 and shapes.members() == []
