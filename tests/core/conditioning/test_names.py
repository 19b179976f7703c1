"""Names of sampled files."""

import pytest
from vidgen.conditioning.names import MARK, MAX_BYTES, safe_name, save_name


def test_names_have_a_number_of_four_digits_or_more():
    assert save_name(7) == "sample_0007"
    assert save_name(12345, sample_name="clip") == "clip_12345"
    assert save_name(7, sample_name="") == "_0007"


def test_the_number_of_a_repeat_is_there_where_there_are_several():
    assert save_name(7, num_samples=3, repeat=0) == "sample_0007-0"
    assert save_name(7, prompt="a cat", prompt_as_path=True, num_samples=3, repeat=2) == "a cat-2"


def test_a_prompt_as_a_name_may_have_another_in_front():
    assert save_name(7, sample_name="x_", prompt="a cat", prompt_as_path=True) == "x_a cat"


@pytest.mark.parametrize("text", ["a cat.", "Ein Kätzchen, 2 Uhr!", "猫", "a|b", "convoy", "v1.2", "👩‍🚀 on the moon"])
def test_texts_that_can_be_names_are(text):
    assert safe_name(text) == text


UNSAFE = [
    "a/b",
    "a\\b",
    "../../etc/passwd",
    ".hidden",
    "a\nb",
    "a\x00b",
    "\ud800",
    "",
    "  ",
    "con",
    "NUL.txt",
    "e\u0301",
]


@pytest.mark.parametrize("text", UNSAFE)
def test_texts_that_cannot_be_names_are_changed_and_marked(text, tmp_path):
    name = safe_name(text)
    assert MARK.search(name)
    assert not name.startswith(".") and not set(name) & set("/\\\n\x00")
    (tmp_path / f"{name}.mp4").touch()
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.mp4"]


def test_no_two_texts_share_a_name():
    long = ["a" * 300, "a" * 301, "猫" * 100, "猫" * 99 + "狗"]
    likenesses = ["a_b", "é", "_hidden", "_", "__"]
    texts = [*UNSAFE, *long, *likenesses]
    texts += [safe_name(text) for text in texts if safe_name(text) != text]  # a name is a text too
    assert len({safe_name(text) for text in texts}) == len(set(texts))


@pytest.mark.parametrize("text", ["a" * 201, "猫" * 67, "é" * 1000])
def test_long_names_are_cut_between_characters(text):
    name = safe_name(text)
    assert len(name.encode()) <= MAX_BYTES
    assert text.startswith(name[: name.index("~")])
    assert safe_name("a" * 200) == "a" * 200
