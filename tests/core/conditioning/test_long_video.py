"""Clips that go on where the last one ended."""

import pytest
from vidgen.conditioning.long_video import appended, check_long, continued, dropped_frames, total_frames
from vidgen.conditioning.strategy import Given, parse_strategy
from vidgen.errors import UserError


def test_a_later_clip_loses_the_frames_it_was_given(chunked, framewise, whole):
    assert dropped_frames(5, chunked(51)) == 17
    assert dropped_frames(10, chunked(51)) == 34
    assert dropped_frames(4, framewise(16)) == 4
    assert dropped_frames(3, whole(13)) == 9


def test_the_joined_length_counts_repeated_frames_once():
    assert total_frames(16, 10, 4) == 10 * (16 - 4) + 4
    assert total_frames(51, 1, 17) == 51


def test_each_clip_is_given_the_end_of_the_one_before():
    first = (Given(),), ("a.png",)
    second = continued(*first, "end of 0", loop=1, length=5, edit=0.0)
    third = continued(*second, "end of 1", loop=2, length=5, edit=0.3)
    assert third[1] == ("a.png", "end of 0", "end of 1")
    assert third[0][1:] == (
        Given(loop=1, reference=1, reference_start=-5, length=5),
        Given(loop=2, reference=2, reference_start=-5, length=5, edit=0.3),
    )


def test_every_sample_of_a_prompt_starts_from_the_prompts_own():
    given, references = [Given()], ["a.png"]
    once = continued(given, references, "end", loop=1, length=2, edit=0.0)
    assert (given, references) == ([Given()], ["a.png"])
    assert continued(given, references, "end", loop=1, length=2, edit=0.0) == once


def test_the_strategys_text_grows_with_it():
    (given,) = parse_strategy("1,0,-5,0,5,0.25")
    assert appended("", given) == appended(None, given) == "1,0,-5,0,5,0.25"
    assert appended("0", given) == "0;1,0,-5,0,5,0.25"


def test_clips_that_would_add_nothing_are_refused(chunked, framewise):
    check_long(15, 1, chunked(51))  # a single clip is given nothing
    check_long(10, 3, chunked(51))
    check_long(0, 3, framewise(4))
    for length, told in ((15, "15 latent frames are all of a clip of 51"), (-5, "-5 is below 0"), (7, "divide what")):
        with pytest.raises(UserError, match=f"condition_frame_length: .*{told.split('latent')[0].strip()}"):
            check_long(length, 2, chunked(51))
    with pytest.raises(UserError, match="or a larger num_frames"):
        check_long(4, 2, framewise(4))
