"""Frames that Open-Sora-Plan's inpainting is shown, given by a recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vidgen.conditioning.latent_time import LatentTime
from vidgen.conditioning.named import ConditionOptions, translate
from vidgen.conditioning.strategy import parse_strategy
from vidgen_convert.opensora_plan.given_frames import OF_A_VIDEO, read_lines

Convert = Callable[..., Any]
FRAMES = 21

SCRIPT = """python -m opensora.sample.sample --model_type inpaint --num_frames 21 --height 352 --width 640 \\
    --text_prompt PROMPTS --conditional_pixel_values_path FILES --ae WFVAEModel_D8_4x8x8 MORE \\
    --sample_method EulerAncestralDiscrete
"""


@pytest.fixture
def given(here: Path, converted: Convert) -> Convert:
    """Converts a script whose prompts get lines of files. more: flags."""

    def convert(lines: str, prompts: str = "'a cat'", more: str = "") -> Any:
        (here / "files.txt").write_text(lines)
        text = SCRIPT.replace("PROMPTS", prompts).replace("FILES", "files.txt").replace("MORE", more)
        return converted(text, "sample.sh")

    return convert


def conditions_of(made: Any) -> list[dict[str, Any]]:
    """Files and frames of what is written."""
    keys = ("image", "video", "frames", "at")
    return [{key: one[key] for key in keys if one[key] is not None} for one in made.recipe["conditions"]]


@pytest.mark.parametrize(
    ("line", "conditions"),
    [
        ("a.png", [{"image": "a.png", "at": 0}]),
        ("a.png,b.JPG\n", [{"image": "a.png", "at": 0}, {"image": "b.JPG", "at": -1}]),
        ("c.mp4", [{"video": "c.mp4", "frames": "0..10", "at": 0}]),
    ],
)
def test_one_prompt_has_conditions(given: Convert, line: str, conditions: list[dict[str, Any]]) -> None:
    made = given(line)
    assert conditions_of(made) == conditions
    assert (made.recipe["reference_path"], made.recipe["mask_strategy"]) == ([], [])
    assert "Without a counterpart" not in made.done.err
    assert ("the first half of a clip's frames" in made.text) == line.startswith("c.mp4")


def test_the_kind_says_which_frames_of_a_video_are_shown(given: Convert) -> None:
    (clear,) = conditions_of(given("c.mp4", more="--mask_type clear"))
    assert clear["frames"] == "0..21"
    ends = conditions_of(given("c.mp4", more="--mask_type transition"))
    assert [(one["frames"], one["at"]) for one in ends] == [(0, 0), (20, -1)]
    made = given("c.mp4", more="--mask_type t2iv")
    assert made.recipe["conditions"] == [] and "no frames are shown" in made.text


def test_prompts_with_different_files_have_an_entry_each(given: Convert) -> None:
    made = given("a.png\n\nb.png,c.png\nd.mp4\n", "one two three four")
    assert made.recipe["reference_path"] == ["a.png", "", "b.png;c.png", "d.mp4"]
    assert made.recipe["mask_strategy"] == ["0", "", "0;0,1,0,-1,1", "0,0,0,0,10"]
    assert made.recipe["conditions"] == []


def test_prompts_with_the_same_files_have_conditions(given: Convert) -> None:
    assert conditions_of(given("a.png\na.png\n", "one two")) == [{"image": "a.png", "at": 0}]


def test_the_program_stops_with_the_last_line_or_prompt(here: Path, given: Convert) -> None:
    (here / "prompts.txt").write_text("one\ntwo\nthree\n")
    fewer = given("a.png\nb.png\n", "prompts.txt")
    assert (fewer.recipe["end_index"], fewer.recipe["reference_path"]) == (2, ["a.png", "b.png"])
    more = given("a.png\nb.png\nc.png\nd.png\n", "one two three")
    assert more.recipe["reference_path"] == ["a.png", "b.png", "c.png"]
    assert "the last 1 lines of --conditional_pixel_values_path have no prompts" in more.text
    alone = given("a.png\nb.png\n", "one")
    assert conditions_of(alone) == [{"image": "a.png", "at": 0}]


@pytest.mark.parametrize("kind", list(OF_A_VIDEO))
def test_conditions_and_strategies_give_the_same_frames(kind: str) -> None:
    (line,) = read_lines("c.mp4", kind, FRAMES)
    found = translate(
        [ConditionOptions(**one) for one in line.conditions()], LatentTime.of_video(FRAMES), lambda file: 30
    )
    strategy = parse_strategy(line.mask_strategy())
    assert [one.start % FRAMES for one in strategy] == [one.start for one in found.given]
    assert [(one.reference_start, one.length) for one in strategy] == [
        (one.reference_start, one.length) for one in found.given
    ]
    assert not found.notes


@pytest.mark.parametrize(
    ("lines", "more", "said"),
    [
        ("a.png,b.png,c.png", "", "files.txt:1: 3 pictures have no places in the program"),
        ("a.png\nc.mp4,d.mp4", "", "files.txt:2: a video does not stand alone"),
        ("a.png,", "", "files.txt:1: a name is empty between commas"),
        ("c.mp4", "--mask_type random_temporal", "files.txt:1: random_temporal draws the frames"),
        ("c.mp4", "--mask_type some", "--mask_type some is none of t2iv, i2v, transition, continuation, clear"),
        ("", "", "files.txt holds no line"),
    ],
)
def test_what_cannot_be_said_is_told_with_what_to_do(given: Convert, lines: str, more: str, said: str) -> None:
    made = given(lines, "one two", more)
    assert (made.recipe["conditions"], made.recipe["reference_path"]) == ([], [])
    for where in (made.done.err, " ".join(made.text.replace("\n# ", " ").split())):
        assert said in where
        assert "give frames with `conditions`" in where
        assert ("--mask_type = " in where) == bool(more)


def test_a_list_that_is_not_here_is_told(converted: Convert) -> None:
    made = converted(SCRIPT.replace("PROMPTS", "x").replace("FILES", "there.txt").replace("MORE", ""), "sample.sh")
    assert "sample.sh:2: --conditional_pixel_values_path = 'there.txt': there.txt cannot be read here (No such" in (
        made.done.err
    )


def test_flags_that_say_nothing_are_told(here: Path, given: Convert, converted: Convert) -> None:
    assert "pictures are placed by their number alone" in given("a.png", more="--mask_type clear").done.err
    assert "--mask_type" not in given("a.png", more="--mask_type i2v").done.err
    text = SCRIPT.replace("PROMPTS", "x").replace("MORE", "--mask_type i2v")
    alone = converted(text.replace("--conditional_pixel_values_path FILES", ""), "sample.sh")
    assert "there are no frames to show without --conditional_pixel_values_path" in alone.done.err
    video = converted(text.replace("inpaint", "t2v").replace("FILES", "files.txt"), "sample.sh")
    assert video.done.err.count("the program shows no frames to --model_type t2v") == 2


def test_sizes_that_follow_the_pictures_there_are_told(given: Convert) -> None:
    assert "without --crop_for_hw the program takes each picture's proportions" in given("a.png").text
    assert "--crop_for_hw the program" not in given("a.png", more="--crop_for_hw").text
