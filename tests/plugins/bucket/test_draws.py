"""Draws of rows, addressed."""

import numpy as np
import pyarrow as pa
import pytest
from vidgen_bucket.draws import RowDraws, hash_texts, mix

PATHS = ["", "a", "b", "ab", "ba", "a" * 7, "a" * 8, "a" * 9, "clip-00001.mp4", "clip-00002.mp4", "ü/é.mp4", "x" * 300]


def plain_hash(text: str) -> int:
    """The same, one byte string at a time, with numbers of Python."""

    def mixed(word: int) -> int:
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            word = (word ^ (word >> shift)) * factor & 0xFFFFFFFFFFFFFFFF
        return word ^ (word >> 31)

    content = text.encode()
    found = mixed(len(content))
    for begin in range(0, len(content), 8):
        word = int.from_bytes(content[begin : begin + 8], "little")
        found = mixed(((word ^ found) + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
    return found


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_texts_are_hashed_as_one_by_one(kind):
    column = pa.chunked_array([pa.array(PATHS[:5]), pa.array(PATHS[5:])]).cast(kind)
    assert hash_texts(column).tolist() == [plain_hash(text) for text in PATHS]


def test_a_slice_of_a_column_has_the_hashes_of_its_texts():
    column = pa.chunked_array([pa.array(PATHS)])
    assert hash_texts(column.slice(3, 5)).tolist() == hash_texts(column).tolist()[3:8]
    assert hash_texts(pa.chunked_array([pa.array(["", None, ""])])).tolist() == [plain_hash("")] * 3


def test_mix_is_splitmix64():
    """The first three numbers of the published generator with seed 1234567."""
    states = np.uint64(1234567) + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, 4, dtype=np.uint64)
    assert mix(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_a_draw_depends_on_seed_epoch_row_and_what_is_drawn():
    table = pa.table({"path": PATHS})
    everything = np.arange(len(PATHS))
    first = RowDraws(table, seed=0, epoch=0)(everything, 2, 0)
    assert np.array_equal(RowDraws(table, seed=0, epoch=0)(everything, 2, 0), first)
    others = [
        RowDraws(table, seed=1, epoch=0)(everything, 2, 0),
        RowDraws(table, seed=0, epoch=1)(everything, 2, 0),
        RowDraws(table, seed=0, epoch=0)(everything, 3, 0),
        RowDraws(table, seed=0, epoch=0)(everything, 2, 1),
    ]
    assert not any(np.any(other == first) for other in others)
    assert len(set(first)) == len(PATHS)


def test_a_row_is_known_by_its_path_wherever_it_stands():
    forward, backward = pa.table({"path": PATHS}), pa.table({"path": PATHS[::-1]})
    places = np.arange(len(PATHS))
    made = RowDraws(backward, seed=5, epoch=3)(places, 0, 0)
    assert np.array_equal(made[::-1], RowDraws(forward, seed=5, epoch=3)(places, 0, 0))


def test_without_paths_a_row_is_known_by_its_number():
    table = pa.table({"num_frames": [7] * 11})
    whole = RowDraws(table, seed=5, epoch=3)(np.arange(11), 0, 0)
    assert np.array_equal(RowDraws(table.slice(4), seed=5, epoch=3, offset=4)(np.arange(7), 0, 0), whole[4:])


def test_draws_are_uniform_and_those_of_one_row_are_independent():
    """10,000 rows: ten equal bins within five standard deviations, correlations of 0."""
    table = pa.table({"path": [f"clips/{row:05d}.mp4" for row in range(10_000)]})
    draws = RowDraws(table, seed=0, epoch=0)
    made = np.stack([draws(np.arange(10_000), number, draw) for number in (0, 1, 7) for draw in (0, 1)])
    for row in made:
        counts = np.histogram(row, bins=10, range=(0, 1))[0]
        assert np.abs(counts - 1000).max() < 5 * 30
    assert np.abs(np.corrcoef(made) - np.eye(6)).max() < 0.05
