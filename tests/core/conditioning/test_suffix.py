"""The JSON behind a prompt's text."""

import pytest
from vidgen.conditioning.suffix import split_suffix
from vidgen.errors import UserError


def test_the_text_in_front_stays_as_it_is():
    assert split_suffix(' A lake. {"mask_strategy": "0"}') == (" A lake. ", {"mask_strategy": "0"})
    assert split_suffix("A [lake]}") == ("A [lake]}", {})


@pytest.mark.parametrize(
    ("prompt", "column", "told"),
    [
        ("x{bad}", 2, "this is no JSON"),
        ("x{", 2, "this is no JSON"),
        ('x{"mask_strategy": "0"} y', 24, "this is no JSON: Extra data"),
        ('x{"mask_strategy" "0"}', 18, "this is no JSON"),
        ('x{"reference_path": {"a": 1}}', 20, "here is another one"),
        ('x{"mask_strategy": "0", "othr": 1}', 24, "there is no key 'othr'; known: mask_strategy, reference_path"),
        ('x{"mask_strategi": "0"}', 2, "did you mean mask_strategy?"),
        ('x{"mask_strategy": 0}', 2, "mask_strategy must be a text, not 0"),
    ],
)
def test_mistakes_are_pointed_at(prompt, column, told):
    with pytest.raises(UserError) as error:
        split_suffix(prompt)
    lines = str(error.value).split("\n")
    assert lines[0].startswith("prompt: ") and told in lines[0]
    assert lines[1:3] == [f"    {prompt}", f"    {' ' * column}^"]


def test_in_a_long_prompt_the_place_alone_is_shown():
    prompt = "a lake\n" * 40 + "{bad}"
    with pytest.raises(UserError) as error:
        split_suffix(prompt)
    shown, caret = str(error.value).split("\n")[1:3]
    assert shown.startswith("    ...") and shown.endswith("{bad}") and len(shown) < 80
    assert shown[caret.index("^")] == "b"


def test_nesting_without_end_is_a_mistake_like_others():
    with pytest.raises(UserError, match=r"this JSON cannot be read|this is no JSON"):
        split_suffix('x{"a":' + "[" * 100_000)


def test_the_form_of_1_1_takes_any_keys_and_square_brackets():
    assert split_suffix('A.{"x": 1}', "v1.1") == ("A.", {"x": 1})
    assert split_suffix("A.[1, 2]", "v1.1") == ("A.", [1, 2])
    with pytest.raises(UserError, match="this is no JSON"):
        split_suffix("A [b]", "v1.1")
