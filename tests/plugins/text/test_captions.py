"""Caption cleaning: single steps, and another implementation. The recorded pairs are among the golden cases."""

import random
import subprocess
import sys

import pytest
from vidgen_text.captions import clean_caption

PIECES = """
a cat &#65;12 &amp;amp; http https:// www:x. example.com a.italy .co @ @me é ñ _ - -- — – ー 猫 ㍿ “ ” ‘ `
&quot; <b> </b> < <!-- --> 1.2.3.4 3:45 \\n \\ #12 #1234 #12345 #1234567a 123456 12345 img.jpg .png x.pdf.mp4z '
'' " .. ... # ® * / | ( [ ~ jc6640 abcd1234 a1b 1a2 x1y2z3 free shipping worldwide download click for on png
image images page 12 40x60 3.5×2.0 5.х7. : , ; + %20 %C3%A9 Ã© â€™ K İ ß １２３ ٣٤ … . 's ?c=d
"""


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("A  Cat", "a cat"),
        ("a%20cat+sits", "a cat sits"),
        ("<person> walks", "person walks"),
        ("at http://a.com now", "at now"),  # `http://` goes, then what is left is a site
        ("the a.italy trip", "the trip"),
        ("by @me@site.com", "by"),
        ("&#65;nna", "Anna"),
        ("字 カナ", "カナ"),
        ("fine\u2014print", "fine-print"),
        ("#1234 and #12345", "1234 and"),
        ("#12345abc", "12345abc"),
        ("old.png.jpgs", "s"),
        ("one . two", "one two"),
        ("a-b-c-d", "a-b-c-d"),
        ("a-b-c-d_e", "a b c d e"),
        ("ﬁne day", "fine day"),
        ("jc6640 and 123abc45", "and"),
        ("worldwide shipping", ""),
        ("pages 3 and page 3", "pages 3 and"),
        ("40x60 and 5х7 cm", "and cm"),
        ("one ,two", "one , two"),
        ("'tis", "tis"),
        ("-._", "."),
        ("<![if broken", "<! if broken"),
    ],
)
def test_one_pass(text, cleaned):
    assert clean_caption(text, passes=1) == cleaned


def test_a_second_pass_removes_what_the_first_uncovers():
    assert [clean_caption(",, So", passes) for passes in (0, 1, 2)] == [",, so", ", so", "so"]


def test_what_is_no_text_is_made_one():
    assert (clean_caption(12), clean_caption(None)) == ("12", "none")


def test_it_agrees_with_the_cleaning_of_diffusers():
    """Between words that stay: the one difference is that diffusers does not trim before the last steps."""
    from diffusers import PixArtAlphaPipeline

    pipeline = PixArtAlphaPipeline.__new__(PixArtAlphaPipeline)
    chance = random.Random(4)
    for _ in range(1000):
        pieces = chance.choices(PIECES.split(), k=chance.randint(1, 9))
        text = "so " + "".join(piece + chance.choice(("", " ", "  ")) for piece in pieces) + " it"
        assert clean_caption(text) == pipeline._text_preprocessing(text, clean_caption=True)[0], text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("x" * 100_000, "x" * 100_000),
        ("a-" * 50_000, "a " * 49_999 + "a"),
        ("a.b" * 33_333, "a. b" * 33_333),
        ("1" * 99_999 + "_", ""),
        ("a" + " " * 99_998 + "b", "a b"),
        ("<b>" * 33_333, ""),
    ],
    ids=["letters", "joined", "dotted", "digits", "blanks", "markup"],
)
def test_a_caption_of_100_000_characters_is_cleaned(text, cleaned):
    """Patterns that try every place anew would take minutes."""
    assert clean_caption(text) == cleaned


def test_it_needs_no_torch():
    code = "import sys, vidgen_text.captions; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
