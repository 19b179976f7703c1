"""Names for sizes: the tables themselves are compared in tests/golden."""

import subprocess
import sys

import pytest
from vidgen import aspect
from vidgen.errors import UserError


@pytest.mark.parametrize(
    ("name", "ratio", "size"),
    [
        ("240p", "9:16", (240, 426)),
        ("720p", "16:9", (1280, 720)),
        ("144p", "1:1", (192, 192)),
        (256, "12:25", (176, 368)),
    ],
)
def test_a_name_and_a_ratio_are_rows_and_columns(name, ratio, size):
    assert aspect.image_size(name, ratio) == size


def test_ratios_are_height_to_width_and_the_first_of_equally_near_ones_is_taken():
    assert aspect.resolution("240p").closest_ratio(1080, 1920) == "0.56"
    table = aspect.Resolution(name="x", pixels=6, sizes={"2": (4, 2), "1": (2, 2), "1.5": (3, 2)})
    assert table.closest_ratio(7, 4) == "2"
    assert table.closest_ratio(5, 4) == "1"
    assert table.closest_size(5, 4) == (2, 2)


def test_sizes_are_near_their_nominal_pixels():
    """Within 13 %: the widest ratios are rounded most."""
    for name in aspect.resolution_names():
        table = aspect.resolution(name)
        assert all(abs(rows * columns / table.pixels - 1) < 0.13 for rows, columns in table.sizes.values()), name


@pytest.mark.parametrize(("given", "frames"), [("4s", 102), ("16x", 816), ("17", 17), (17, 17), ("2s", 51)])
def test_frames_have_names(given, frames):
    assert aspect.num_frames(given) == frames


@pytest.mark.parametrize("given", ["3s", "", None, float("inf")])
def test_what_is_no_number_of_frames_is_refused_with_the_names(given):
    with pytest.raises(UserError, match=r"num_frames: .* is neither a whole number nor one of 1x, 2x, "):
        aspect.num_frames(given)


def test_an_unknown_resolution_is_refused_with_the_nearest():
    with pytest.raises(UserError) as error:
        aspect.image_size("240", "9:16")
    lines = str(error.value).splitlines()
    assert lines[0] == "resolution: there is no '240'"
    assert "240p" in lines[1] and lines[1].strip().startswith("did you mean")
    assert lines[2].strip() == f"known: {', '.join(aspect.resolution_names())}"


def test_an_unknown_ratio_is_refused_with_all_of_them_once():
    with pytest.raises(UserError, match=r"there is no 'abc'\n    known: 3:8, 9:21, [^\n]*$"):
        aspect.image_size("240p", "abc")


def test_a_ratio_that_a_resolution_lacks_is_refused_with_those_that_it_has():
    with pytest.raises(UserError, match=r"aspect_ratio: 256 has no 9:16\n    it has .*12:25.*240p have all of them"):
        aspect.image_size("256", "9:16")


def test_names_are_looked_up_without_torch():
    program = "import sys; from vidgen.aspect import num_frames; num_frames('2s'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
