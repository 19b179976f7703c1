"""Texts that change from loop to loop."""

import pytest
from vidgen.conditioning.schedule import change_texts, merge_schedule, split_schedule, text_of_loop, texts_of_loops
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
    for ask in (split_schedule, lambda prompt: text_of_loop(prompt, 0), lambda prompt: texts_of_loops(prompt, 2)):
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
