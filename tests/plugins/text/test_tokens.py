"""Texts worked on together."""

import pytest
from vidgen_text.tokens import group

NUMBERS = [[5, 6, 1], [7, 7, 7, 7, 7, 7, 7, 7, 1], [1], [8, 9, 5, 1]]


def rows(**options):
    return [
        one.rows.tolist() for one in group(NUMBERS, **{"size": None, "room": 10, "sort": True, "pad": 0, **options})
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[1], [3, 0], [2]]),
        ({"room": 12}, [[1], [3, 0, 2]]),
        ({"room": 1}, [[1], [3], [0], [2]]),
        ({"room": 100, "sort": False}, [[0, 1, 2, 3]]),
        ({"room": 10, "sort": False}, [[0], [1], [2, 3]]),
        ({"size": 3}, [[1, 3, 0], [2]]),
        ({"length": 10}, [[0], [1], [2], [3]]),
        ({"length": 10, "room": 20}, [[0, 1], [2, 3]]),
    ],
)
def test_a_group_has_the_room_or_the_size_it_is_given(options, expected):
    assert rows(**options) == expected


def test_texts_are_padded_on_the_right_to_the_longest():
    _, second = group(NUMBERS, size=None, room=12, sort=True, pad=2)
    assert second.ids.tolist() == [[8, 9, 5, 1], [5, 6, 1, 2], [1, 2, 2, 2]]
    assert second.lengths.tolist() == [4, 3, 1]
    assert second.visible.long().tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]]
    assert second.padded


def test_texts_of_one_length_need_no_mask():
    assert [one.padded for one in group([[1], [1]], size=None, room=10, sort=True, pad=0)] == [False]
    assert [one.padded for one in group([[1], [1]], size=None, room=10, sort=True, pad=0, length=3)] == [True]
