"""Caption cleaning: what captions from the web carry besides words (addresses, markup, file names, codes) is taken out.

Source: the cleaning of DeepFloyd IF, which PixArt and Open-Sora took over. Models that were trained on cleaned captions
want theirs cleaned alike, odd effects included. Needs no torch.

Words, digits and blanks are those of Unicode; where a pattern spells `a-z`, letters are those of ASCII.
"""

import html
import re
import warnings
from urllib.parse import unquote_plus

import ftfy
from bs4 import BeautifulSoup, UnusualUsageWarning
from bs4.builder import ParserRejectedMarkup

Step = tuple[re.Pattern[str], str]
"""A pattern, and what each place where it matches becomes."""


def _steps(*pairs: tuple[str, str]) -> tuple[Step, ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in pairs)


SUFFIX = "(?:png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4)"
DOMAIN = r"\.(?:com|co|ru|net|org|edu|gov|it)"
SITE = rf"[a-z0-9.\-]+{DOMAIN}[\w/-]*\b/?(?!@)"

WORD = re.compile(r"\S+")
SIGN_OF_ADDRESS = re.compile(rf"{DOMAIN}|https?:|www:")
ADDRESSES = _steps(
    (rf"\b(?:https?:(?:/{{1,3}}|[a-z0-9%])|{SITE})", ""),
    (rf"\b(?:www:(?:/{{1,3}}|[a-z0-9%])|{SITE})", ""),
)

MARKS = _steps(
    (r"@\w+", ""),
    (r"[\u31c0-\u9fff]+", ""),  # strokes, enclosed and squared forms, ideographs; hiragana and katakana stay
    (
        r"[\u002d\u058a\u05be\u1400\u1806\u2010-\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u301c\u3030\u30a0\ufe31\ufe32"
        r"\ufe58\ufe63\uff0d]+",
        "-",
    ),
    (r"[`´«»“”¨]", '"'),
    (r"[‘’]", "'"),
    (r"&quot;?", ""),
    (r"&amp", ""),
)

NUMBERS = _steps(
    (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", " "),  # addresses of machines
    (r"\d:\d\d\s+$", ""),  # where an article ended
    (r"\\n", " "),
    (r"#\d{1,3}\b", ""),
    (r"#\d{5,}\b", ""),
    (r"\b\d{6,}\b", ""),
    (rf"(?<!\S)\S+\.{SUFFIX}", ""),  # file names
)

PUNCTUATION = _steps(
    (r"[\"']{2,}", '"'),
    (r"\.{2,}", " "),
    (r"[#®•©™&@·º½¾¿¡§~()\[\]{}|\\/*]+", " "),
    (r"(?<!\s)\s+\.\s+", " "),
)

JOINT = re.compile(r"[-_]")
MAX_JOINTS = 3  # of a text whose words are not joined throughout

CODES = _steps(  # capitals have come back where they were written as HTML entities
    (r"\b[a-zA-Z]{1,3}\d{3,15}\b", ""),  # jc6640
    (r"\b[a-zA-Z]+\d+[a-zA-Z]+\b", ""),  # jc6640vc
    (r"\b\d+[a-zA-Z]+\d+\b", ""),  # 6640vc231
)

PHRASES = _steps(
    (r"(?:worldwide\s+)?(?:free\s+)?shipping", ""),
    (r"(?:free\s)?download(?:\sfree)?", ""),
    (r"\bclick\b\s(?:for|on)\s\w+", ""),
    (rf"\b{SUFFIX}(?:\simages?)?", ""),
    (r"\bpage\s+\d+\b", ""),
    (r"\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b", " "),  # j2d1a2a
    (r"\b\d+(?:\.\d*)?[xх×]\d+(?:\.\d*)?\b", ""),  # sizes; the second sign is Cyrillic
)

SPACING = _steps(
    (r"\b\s+:\s+", ": "),
    (r"(\D[,./])\b", r"\1 "),
    (r"\s+", " "),
)

EDGES = _steps(
    (r"^[\"']([\w\W]+)[\"']$", r"\1"),
    (r"^['_,\-:;]", ""),
    (r"['_,\-:+]$", ""),
    (r"^\.\S+$", ""),
)


def clean_caption(text: object, passes: int = 2) -> str:
    """The caption in lower case, cleaned.

    text: converted with `str`. passes: 0 or more; one pass uncovers what the next removes, and two are usual. With 0,
    the text is put in lower case and trimmed, nothing else.
    """
    if passes == 0:
        return str(text).lower().strip()
    cleaned = str(text)
    for _ in range(passes):
        cleaned = _one_pass(cleaned)
    return cleaned


def _one_pass(text: str) -> str:
    text = unquote_plus(text).strip().lower().replace("<person>", "person")
    text = _text_of_html(WORD.sub(_without_addresses, text))
    text = _apply(MARKS + NUMBERS + PUNCTUATION, text)
    if len(JOINT.findall(text)) > MAX_JOINTS:
        text = JOINT.sub(" ", text)
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return _apply(CODES + PHRASES + SPACING + EDGES, text).strip()


def _apply(steps: tuple[Step, ...], text: str) -> str:
    for pattern, replacement in steps:
        text = pattern.sub(replacement, text)
    return text


def _without_addresses(word: re.Match[str]) -> str:
    """Looks first whether there can be one: on a long word without, the patterns take time that grows as its square."""
    return _apply(ADDRESSES, word[0]) if SIGN_OF_ADDRESS.search(word[0]) else word[0]


def _text_of_html(text: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusualUsageWarning)  # a caption may well look like a file's name
        try:
            return BeautifulSoup(text, "html.parser").text
        except ParserRejectedMarkup:  # broken declarations, such as `<![if`
            return text
