"""What is kept of a model's answer."""

from collections.abc import Sequence

QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "`": "`"}


def tidied(answer: str, *, quotes: bool, beginnings: Sequence[str]) -> str:
    """The answer on one line, without any of `beginnings` in front and, with `quotes`, without quotation marks around
    the whole."""
    text = " ".join(answer.split())
    text = _without_beginning(text, beginnings)
    return _without_quotes(text) if quotes else text


def _without_beginning(text: str, beginnings: Sequence[str]) -> str:
    for beginning in beginnings:
        if beginning and text.casefold().startswith(beginning.casefold()):
            return text[len(beginning) :].strip()
    return text


def _without_quotes(text: str) -> str:
    """Marks in the middle may belong to two quotations, and then none is taken off."""
    closing = QUOTES.get(text[:1])
    inside = text[1:-1]
    if closing is None or len(text) < 2 or text[-1] != closing or text[0] in inside or closing in inside:
        return text
    return inside.strip()
