"""Mistakes in a bucket_config are told at the key where they are."""

import pytest
from vidgen.errors import RecipeError
from vidgen.recipe import load_recipe

RECIPE = """
job: train
max_steps: 3
dataset: {type: moving-shapes}
vae: {type: pixel, patch: [1, 4, 4]}
text_encoder: {type: hashed-words}
model: {type: STDiT, hidden_size: 24, depth: 2, num_heads: 3}
scheduler: {type: rflow}
bucketer:
  type: bucket
"""


def problems(tmp_path, *lines):
    """Place within the bucketer, text and hints of every mistake."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.lstrip() + "".join(f"  {line}\n" for line in lines))
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    found = error.value.problems
    assert all(one.place.startswith(f"{path}:") for one in found)
    return [(one.path[1:], one.text, *one.hints) for one in found]


def told(tmp_path, config):
    return problems(tmp_path, f"bucket_config: {config}")


def test_a_bucket_config_is_needed(tmp_path):
    ((path, text, *_),) = problems(tmp_path, "shuffle: false")
    assert (path, text) == (("bucket_config",), "missing")


def test_an_empty_config_is_refused_with_an_example(tmp_path):
    ((path, text, hint),) = told(tmp_path, "{}")
    assert (path, text) == (("bucket_config",), "has no buckets")
    assert hint == "such as bucket_config: {240p: {1: [1.0, 16], 51: [0.5, 4]}}"
    ((path, text, _),) = told(tmp_path, "{240p: {}}")
    assert (path, text) == (("bucket_config", "240p"), "has no numbers of frames")


def test_an_unknown_resolution_is_refused_with_the_nearest(tmp_path):
    ((path, text, near, known),) = told(tmp_path, "{420p: {1: [1.0, 2]}}")
    assert (path, text) == (("bucket_config", "420p"), "there is no resolution '420p'")
    assert near.startswith("did you mean ") and "240p" in near
    assert known.startswith("known: 144p, 256, 240p, 360p, ")


def test_the_place_is_that_of_the_value(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.lstrip() + "  bucket_config:\n    240p:\n      51: [1.5, 2]\n")
    with pytest.raises(RecipeError, match=r"recipe.yaml:12:12: bucketer.bucket_config.240p\[51\]\[0\]: a probability"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("entry", "path"),
    [("[1.5, 2]", (0,)), ("[-0.1, 2]", (0,)), ("[.nan, 2]", (0,)), ("[[0.5, 2.0], 2]", (0, 1))],
)
def test_a_probability_out_of_range_is_refused(tmp_path, entry, path):
    ((found, text),) = told(tmp_path, f"{{240p: {{16: [1.0, 1], 51: {entry}}}}}")
    assert found == ("bucket_config", "240p", 51, *path)
    assert text.startswith("a probability lies between 0 and 1, not ")


def test_a_pair_for_still_images_is_refused(tmp_path):
    ((path, text, hint),) = told(tmp_path, "{256: {1: [[1.0, 0.5], 2]}}")
    assert path == ("bucket_config", 256, 1, 0)
    assert text == "a pair [1.0, 0.5], where still images take one probability"
    assert hint.endswith("write [1.0, 16]")


@pytest.mark.parametrize("size", [-2, 0])
def test_a_batch_size_below_1_is_refused(tmp_path, size):
    assert told(tmp_path, f"{{240p: {{51: [1.0, {size}]}}}}") == [
        (("bucket_config", "240p", 51, 1), f"a batch size is 1 or more, not {size}")
    ]


def test_a_bucket_that_takes_rows_needs_a_batch_size(tmp_path):
    ((path, text, hint),) = told(tmp_path, "{240p: {16: [1.0, 1], 51: [0.5, null]}}")
    assert (path, text) == (("bucket_config", "240p", 51, 1), "missing: a bucket that takes rows needs a batch size")
    assert "[0.0, null]" in hint


def test_a_config_that_keeps_no_row_is_refused(tmp_path):
    ((path, text, _),) = told(tmp_path, "{240p: {51: [0.0, null], 16: [[0.0, 1.0], 2]}}")
    assert (path, text) == (("bucket_config",), "no bucket keeps any row: all probabilities are 0")


@pytest.mark.parametrize(
    ("frames", "text"), [("0", "1 frame or more, not 0"), ("3s", "'3s' is neither a whole number")]
)
def test_impossible_numbers_of_frames_are_refused(tmp_path, frames, text):
    ((path, found, *_),) = told(tmp_path, f"{{240p: {{{frames}: [1.0, 1], 16: [1.0, 1]}}}}")
    assert str(path[-1]) == frames and text in found


def test_keys_of_one_meaning_are_refused(tmp_path):
    ((path, text),) = told(tmp_path, "{240p: {51: [1.0, 1], 2s: [1.0, 2]}}")
    assert (path, text) == (("bucket_config", "240p", "2s"), "means the same as 51")
    ((path, text),) = told(tmp_path, "{256: {51: [1.0, 1]}, '256': {16: [1.0, 2]}}")
    assert (path, text) == (("bucket_config", "256"), "means the same as 256")


def test_all_mistakes_are_told_at_once(tmp_path):
    found = told(tmp_path, "{999p: {1: [1.0, 2]}, 240p: {51: [2.0, -1]}}")
    assert [path[1:] for path, *_ in found] == [("999p",), ("240p", 51, 0), ("240p", 51, 1)]


def test_values_of_another_form_are_refused(tmp_path):
    ((path, text),) = told(tmp_path, "{240p: {51: [1.0]}}")
    assert (path, text) == (("bucket_config", "240p", 51), "expected a list of 2 values, got [1.0] (a list)")
    ((path, text),) = told(tmp_path, "{240p: {51: [1.0, 2.5]}}")
    assert path == ("bucket_config", "240p", 51, 1) and text.startswith("expected a whole number, got 2.5")


def test_mistakes_in_further_resolutions_are_told(tmp_path):
    config = "bucket_config: {tiny: {1: [1.0, 2]}}"
    assert problems(tmp_path, config, "resolutions: {tiny: []}") == [
        (("resolutions", "tiny"), "has no sizes", "list at least one [rows, columns]")
    ]
    ((path, text),) = problems(tmp_path, config, "resolutions: {tiny: [[8, 8], [0, 4]]}")
    assert (path, text) == (("resolutions", "tiny", 1), "rows and columns must be 1 or more, not [0, 4]")
    ((path, text, _),) = problems(tmp_path, config, "resolutions: {tiny: [[8, 8], [4, 4]]}")
    assert (path, text) == (("resolutions", "tiny"), "has two sizes of one aspect ratio")
    ((path, text, _),) = problems(tmp_path, "bucket_config: {240p: {1: [1.0, 2]}}", "resolutions: {240p: [[8, 8]]}")
    assert (path, text) == (("resolutions", "240p"), "is the name of a built-in resolution")
