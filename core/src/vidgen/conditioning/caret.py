"""Points at a character of a text, for messages."""

from unicodedata import combining, east_asian_width

AROUND = 44  # characters shown before and behind


def pointed(text: str, at: int) -> str:
    """Two lines, indented: the part of `text` around character `at`, and a caret under that character."""
    first, last = max(0, at - AROUND), at + AROUND
    before, behind = _visible(text[first:at]), _visible(text[at:last])
    before = f"...{before}" if first else before
    behind = f"{behind}..." if last < len(text) else behind
    return f"    {before}{behind}\n    {' ' * _columns(before)}^"


def _visible(text: str) -> str:
    """Line breaks and the like would move the caret away from its character."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _columns(text: str) -> int:
    """Columns of a terminal that the text takes."""
    return sum(0 if combining(one) else 2 if east_asian_width(one) in "WF" else 1 for one in text)
