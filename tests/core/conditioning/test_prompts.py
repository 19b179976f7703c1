"""A prompt with what is said of it, and scores behind its text."""

import pytest
from vidgen.conditioning.prompts import Prompt
from vidgen.conditioning.scores import with_scores
from vidgen.errors import UserError


def test_what_stands_behind_the_text_replaces_what_was_said_before():
    prompt = Prompt(text='a{"mask_strategy": "0"}', reference_path="r.png", mask_strategy="1", seed=7)
    assert prompt.with_suffix() == Prompt(text="a", reference_path="r.png", mask_strategy="0", seed=7)


def test_references_are_told_apart_by_semicolons():
    assert Prompt(text="", reference_path="a.png; b c.mp4").references == ("a.png", "b c.mp4")
    assert Prompt(text="", reference_path="").references == Prompt(text="").references == ()
    with pytest.raises(UserError, match=r"'a\.png;' has an empty name"):
        _ = Prompt(text="", reference_path="a.png;").references


def test_scores_stand_behind_the_text_in_a_fixed_order():
    assert with_scores("a", camera_motion="pan left", flow=2, aes=6.46) == (
        "a aesthetic score: 6.5. motion score: 2.0. camera motion: pan left."
    )


def test_nought_and_the_empty_text_are_scores_too():
    assert with_scores("a", flow=0, camera_motion="") == "a motion score: 0.0. camera motion: ."


def test_a_text_that_speaks_of_a_score_keeps_its_own():
    assert with_scores("a motion score: 9.", aes=5, flow=1) == "a motion score: 9. aesthetic score: 5.0."
    assert with_scores("Motion Score: 9", flow=1) == "Motion Score: 9 motion score: 1.0."
    assert with_scores("a", flow=1, camera_motion="motion score: aesthetic score:", aes=2).count("score: 2.0") == 1
