"""Pointing at a character."""

from vidgen.conditioning.caret import AROUND, pointed


def test_the_caret_stands_under_its_character():
    assert pointed("abc", 1) == "    abc\n     ^"
    assert pointed("abc", 3) == "    abc\n       ^"


def test_wide_and_combining_characters_are_counted_as_they_are_shown():
    assert pointed("猫e\u0301x", 3).split("\n")[1] == "    " + " " * 3 + "^"


def test_line_breaks_are_shown_as_they_are_written():
    assert pointed("a\nb", 2) == "    a\\nb\n       ^"


def test_far_parts_of_a_long_text_are_left_out():
    shown, caret = pointed("x" * 500 + "!" + "y" * 500, 500).split("\n")
    assert shown == f"    ...{'x' * AROUND}!{'y' * (AROUND - 1)}..."
    assert shown[caret.index("^")] == "!"
