"""Mask strategies as text."""

import pytest
from attrs import astuple
from vidgen.conditioning.strategy import Given, check_loop, check_loops, parse_strategy, to_text
from vidgen.errors import UserError


def test_missing_numbers_have_their_defaults():
    assert parse_strategy("1;2,3,-4") == [Given(loop=1), Given(loop=2, reference=3, reference_start=-4)]


def test_numbers_come_in_the_order_of_the_fields():
    (given,) = parse_strategy(" 1, 2 ,-3,4,5, 0.25")
    assert given == Given(loop=1, reference=2, reference_start=-3, start=4, length=5, edit=0.25)


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_text_gives_nothing(nothing):
    assert parse_strategy(nothing) == []


def test_the_text_of_what_was_read_reads_the_same():
    given = parse_strategy("0;0,1,0,-1,1;1,0,-8,0,8,0.4")
    assert to_text(given) == "0,0,0,0,1,0.0;0,1,0,-1,1,0.0;1,0,-8,0,8,0.4"
    assert parse_strategy(to_text(given)) == given


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        ("a", 0, "the loop must be a whole number, not 'a'"),
        ("0;0, x", 5, "the reference must be a whole number, not 'x'"),
        ("0,0,0.5", 4, "the reference start must be a whole number"),
        ("0,0,0,,1", 6, "the start must be a whole number, not ''"),
        ("0;", 2, "numbers are missing"),
        (";0", 0, "numbers are missing"),
        ("  ", 0, "numbers are missing"),
        ("0,0,0,0,1,0,9", 12, "7 numbers, at most 6"),
        ("0,0,0,0,-2", 8, "the length must not be below 0, it is -2"),
        ("0,0,0,0,1,1.5", 10, "the edit ratio must be a number from 0"),
        ("0,0,0,0,1,nan", 10, "the edit ratio must be a number from 0"),
        ("0,0,0,0,1,x", 10, "the edit ratio must be a number from 0"),
        ("9999999999", 0, "the loop must be a whole number"),
    ],
)
def test_mistakes_are_pointed_at(text, column, told):
    with pytest.raises(UserError) as error:
        parse_strategy(text)
    first, shown, caret, accepted = str(error.value).split("\n")
    assert first.startswith(f"mask_strategy: {told}")
    assert (shown, caret) == (f"    {text}", f"    {' ' * column}^")
    assert "accepted: groups of 1 to 6 numbers" in accepted


def test_an_empty_text_is_a_mistake_in_the_form_of_1_1():
    assert parse_strategy(None, "v1.1") == []
    with pytest.raises(UserError, match="numbers are missing"):
        parse_strategy("", "v1.1")


def test_the_documented_form_of_1_0_has_its_own_order():
    """Reference, loop, start in the reference, number of frames, beginning or end."""
    beginning, end, video = parse_strategy("0,0,0,1,0;1,2,0,1,-1;3,0,5,4,1", "v1.0")
    assert beginning == Given()
    assert end == Given(reference=1, loop=2, start=-1)
    assert astuple(video) == (0, 3, 5, -4, 4, 0.0)


@pytest.mark.parametrize(
    ("text", "column", "told"),
    [
        ("0,0,0,1", 6, "4 numbers, this form has 5"),
        ("0,0,0,1,0,0.4", 10, "6 numbers, this form has 5"),
        ("0,0,0,1,7", 8, "the location 7 is none of"),
        ("0,0,0,1,x", 8, "the location must be a whole number"),
    ],
)
def test_mistakes_in_the_form_of_1_0_are_pointed_at(text, column, told):
    with pytest.raises(UserError) as error:
        parse_strategy(text, "v1.0")
    lines = str(error.value).split("\n")
    assert told in lines[0]
    assert lines[2] == f"    {' ' * column}^"


def test_loops_that_are_not_sampled_are_refused():
    check_loops(parse_strategy("0;2"), 3)
    with pytest.raises(UserError, match=r"is for loop 2, but only 0\.\.1 are sampled\n    set loop: 3 or more"):
        check_loops(parse_strategy("0;2"), 2)
    with pytest.raises(UserError, match="loops are counted from 0"):
        check_loops(parse_strategy("-1"), 2)


def test_a_loop_of_a_condition_is_told_by_the_conditions_name():
    with pytest.raises(UserError, match=r"conditions\[0\].loop: it is for loop 1, but only 0..0"):
        check_loop(1, 1, "conditions[0].loop: it")
