"""Conditions in video frames, translated to latent ones."""

import pytest
from vidgen.conditioning.named import ConditionOptions, translate
from vidgen.conditioning.strategy import Given
from vidgen.errors import UserError

LENGTHS = {"b.mp4": 40, "d.mp4": 120, "e.mp4": 17, "f.mp4": 9}


def translated(time, *conditions, references=()):
    return translate([ConditionOptions(**one) for one in conditions], time, LENGTHS.__getitem__, references)


def test_where_each_frame_is_coded_alone_numbers_stay_as_they_are(framewise):
    made = translated(
        framewise(16),
        {"image": "a.png"},
        {"video": "b.mp4", "frames": "-8..", "at": 4},
        {"image": "c.png", "at": -1, "loop": 2},
        {"video": "f.mp4", "frames": "..3", "at": 1, "edit": 0.4},
    )
    assert made.references == ("a.png", "b.mp4", "c.png", "f.mp4")
    assert made.given == (
        Given(),
        Given(reference=1, reference_start=32, start=4, length=8),
        Given(reference=2, start=15, loop=2),
        Given(reference=3, start=1, length=3, edit=0.4),
    )
    assert made.notes == ()


def test_a_file_that_is_used_twice_is_one_reference(framewise):
    made = translated(framewise(8), {"image": "a.png"}, {"image": "a.png", "at": -1})
    assert made.references == ("a.png",)
    assert [one.start for one in made.given] == [0, 7]


def test_references_of_the_prompt_come_first_and_can_be_used(framewise):
    made = translated(framewise(8), {"image": "a.png"}, {"reference": 1, "frames": 5}, references=("e.mp4", "f.mp4"))
    assert made.references == ("e.mp4", "f.mp4", "a.png")
    assert made.given[1] == Given(reference=1, reference_start=5)


def test_whole_chunks_are_given_exactly(chunked):
    made = translated(chunked(51), {"video": "b.mp4", "frames": "17..34", "at": -17}, {"video": "e.mp4", "at": 17})
    assert made.given == (
        Given(reference=0, reference_start=5, start=10, length=5),
        Given(reference=1, start=5, length=5),
    )
    assert made.notes == ()


def test_a_place_within_a_chunk_moves_to_the_nearest_beginning_and_that_is_told(chunked):
    made = translated(
        chunked(51), {"image": "c.png", "at": -1}, {"image": "c.png", "at": 8}, {"image": "c.png", "at": 9}
    )
    assert [one.start for one in made.given] == [10, 0, 5]
    assert len(made.notes) == 3
    assert made.notes[0] == (
        "conditions[0].at: frame 50 of the clip is coded together with those before it; frame 34 is taken"
    )


def test_the_first_frame_used_of_a_video_moves_too(chunked):
    made = translated(chunked(51), {"video": "d.mp4", "frames": "-20..", "length": 17})
    assert made.given == (Given(reference_start=30, length=5),)
    assert made.notes[0].startswith("conditions[0].frames: frame 100 of d.mp4")
    assert "frame 102 is taken" in made.notes[0]


@pytest.mark.parametrize(
    ("frames", "latents", "held"), [(1, 1, 1), (2, 1, 1), (3, 2, 5), (5, 2, 5), (16, 5, 17), (17, 5, 17), (19, 6, 18)]
)
def test_a_length_that_fills_no_latent_frame_becomes_the_nearest_that_does(chunked, frames, latents, held):
    made = translated(chunked(51), {"video": "d.mp4", "length": frames})
    assert made.given[0].length == latents
    told = (f"conditions[0].length: {frames} frames of d.mp4 stand in the place of {held} of the clip",)
    assert made.notes == (() if frames == held else told)


def test_a_video_longer_than_the_clip_is_cut_and_that_is_told(chunked):
    made = translated(chunked(34), {"video": "d.mp4", "edit": 0.4})
    assert made.given == (Given(length=10, edit=0.4),)
    assert made.notes == ("conditions[0].length: 120 frames of d.mp4 stand in the place of 34 of the clip",)


def test_a_clip_of_chunks_and_a_rest_can_be_given_wholly(chunked):
    made = translate([ConditionOptions(video="g.mp4")], chunked(20), {"g.mp4": 20}.__getitem__)
    assert made.given == (Given(length=6),)
    assert made.notes == ()


def test_without_chunks_a_place_moves_to_the_first_frame_of_its_latent_frame(whole):
    made = translated(whole(13), {"image": "a.png", "at": 7}, {"video": "f.mp4", "at": 0})
    assert made.given == (Given(start=2), Given(reference=1, length=3))
    assert made.notes == (
        "conditions[0].at: frame 7 of the clip is coded together with those before it; frame 5 is taken",
        "conditions[0].length: 1 frames of a.png stand in the place of 4 of the clip",
    )


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ({"image": "a.png", "at": 16}, r"conditions\[0\].at: there is no frame 16 in the clip, which has 16: -16..15"),
        ({"image": "a.png", "at": -17}, "there is no frame -17 in the clip"),
        ({"video": "f.mp4", "frames": "9.."}, r"conditions\[0\].frames: there is no frame 9 in f.mp4, which has 9"),
        ({"video": "f.mp4", "frames": "-10.."}, "there is no frame -10 in f.mp4"),
        ({"video": "f.mp4", "frames": "3..10"}, r"3..10 holds no frame of f.mp4 or frames behind its last: it has 9"),
        ({"video": "f.mp4", "frames": "4..4"}, "holds no frame"),
        ({"video": "f.mp4", "frames": "..-9"}, "holds no frame"),
        ({"video": "f.mp4", "frames": 9}, "there is no frame 9 in f.mp4"),
        ({"reference": 1}, r"conditions\[0\].reference: there is no reference 1; reference_path has none"),
    ],
)
def test_frames_that_are_not_there_are_refused_by_the_conditions_name(framewise, condition, told):
    with pytest.raises(UserError, match=told):
        translated(framewise(16), condition)


@pytest.mark.parametrize("frames", ["8-16", "a..b", "1...3", "..5..", "1.5"])
def test_ranges_of_another_form_are_refused(frames):
    with pytest.raises(ValueError, match=r"expected a range such as 0..8, -8.. or ..16"):
        ConditionOptions(video="b.mp4", frames=frames)


@pytest.mark.parametrize("wrong", [{"edit": 1.5}, {"edit": float("nan")}, {"length": 0}, {"loop": -1}])
def test_numbers_out_of_their_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ConditionOptions(video="b.mp4", **wrong)


def test_a_condition_has_one_source():
    assert not list(ConditionOptions(video="b.mp4", frames="0..3").problems())
    (nothing,) = ConditionOptions().problems()
    assert nothing.text == "there is no picture or video"
    (both,) = ConditionOptions(image="a.png", reference=0).problems()
    assert both.text == "image and reference are given"
    (part,) = ConditionOptions(image="a.png", frames="0..1").problems()
    assert part.path == ("frames",)
