"""Texts that change from loop to loop."""

import pytest
from vidgen.conditioning.schedule import (
    change_texts,
    check_schedule,
    merge_schedule,
    split_schedule,
    text_of_loop,
    texts_of_loops,
)
from vidgen.errors import UserError


def test_a_schedule_splits_into_texts_and_merges_again():
    texts, starts = split_schedule("|0| day |2| |14|night")
    assert (texts, starts) == (["day", "", "night"], [0, 2, 14])
    assert merge_schedule(texts, starts) == "|0|day|2||14|night"


@pytest.mark.parametrize("prompt", ["plain", "|1|a|2|b", " |0|a", "| 0 |a", ""])
def test_other_prompts_are_one_text(prompt):
    assert split_schedule(prompt) == ([prompt], None)
    assert text_of_loop(prompt, 3) == prompt
    assert change_texts(prompt, lambda text: f"{text}!") == f"{prompt}!"


def test_each_loop_has_the_text_begun_last():
    prompt = "|0| a |2|b|5|c"
    assert [text_of_loop(prompt, loop) for loop in range(7)] == [" a ", " a ", "b", "b", "b", "c", "c"]


def test_each_text_is_changed_for_itself():
    assert change_texts("|0| a |3|b", str.upper) == "|0|A|3|B"


@pytest.mark.parametrize(
    ("prompt", "column", "told"),
    [
        ("|0|a|2", 5, "no text behind loop 2"),
        ("|0|a|x|b", 5, "'x' is no number of a loop"),
        ("|0|a|2.5|b", 5, "'2.5' is no number"),
        ("|0|a||b", 5, "'' is no number"),
        ("|0|abc|12|d|e|f", 12, "'e' is no number"),
    ],
)
def test_mistakes_are_pointed_at_whichever_loop_is_asked_for(prompt, column, told):
    asks = [split_schedule, lambda prompt: text_of_loop(prompt, 0), lambda prompt: texts_of_loops(prompt, 2)]
    for ask in (*asks, lambda prompt: check_schedule(prompt, 2)):
        with pytest.raises(UserError) as error:
            ask(prompt)
        lines = str(error.value).split("\n")
        assert told in lines[0]
        assert lines[1:3] == [f"    {prompt}", f"    {' ' * column}^"]


def test_all_loops_together_must_be_those_that_are_sampled():
    assert texts_of_loops("|0|a|2|b", 3) == ["a", "a", "b"]
    assert texts_of_loops("plain", 2) == ["plain", "plain"]
    with pytest.raises(UserError, match="has texts for 5 loops, but loop is 3"):
        texts_of_loops("|0|a|5|b", 3)


@pytest.mark.parametrize(
    ("prompt", "loops"), [("plain", 1), ("|0|a", 1), ("|0|a|2|b", 3), ("|0|a|1|b|4|a", 5), ("", 2)]
)
def test_texts_that_some_loop_has_are_taken(prompt, loops):
    check_schedule(prompt, loops)


@pytest.mark.parametrize(
    ("prompt", "loops", "column", "told", "hint"),
    [
        ("|0|a|4|b", 1, 5, "a text is for loop 4, but only 0..0 are sampled", "set loop: 5 or more"),
        ("|0|a| 2 |b|7|c", 3, 11, "a text is for loop 7, but only 0..2 are sampled", "set loop: 8 or more"),
        ("|0|a|3|b", 3, 5, "a text is for loop 3, but only 0..2 are sampled", "or leave that text out"),
        ("|0|a|4|b|2|c", 9, 5, "the text for loop 4 is never used: the one behind it is for loop 2", "loops that rise"),
        ("|0|a|0|b", 2, 1, "the text for loop 0 is never used: the one behind it is for loop 0", "loops that rise"),
    ],
)
def test_a_text_that_no_loop_has_is_pointed_at(prompt, loops, column, told, hint):
    with pytest.raises(UserError) as error:
        check_schedule(prompt, loops)
    lines = str(error.value).split("\n")
    assert told in lines[0] and hint in lines[3]
    assert lines[1:3] == [f"    {prompt}", f"    {' ' * column}^"]
