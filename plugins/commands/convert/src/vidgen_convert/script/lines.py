"""The lines of a script as words with places: continued lines joined, quotes taken off, comments left out."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen
from vidgen.errors import UserError

from vidgen_convert.refused import Fault, Refused
from vidgen_convert.script.variables import hide_quoted

OPERATORS = ";|&<>"
ENDS = (";", "&&", "||", "|", "&", ";;")
"""Words after which another command begins."""


@frozen
class Word:
    """A word of a command. place: `file:line`."""

    text: str
    place: str


def read_lines(path: Path) -> list[list[Word]]:
    """The commands of a script, in order, each as its words.

    Raises: UserError, when there is no such text; Refused, for a quote that is never closed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text: a launch script is a .sh file") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    return [command for words in _joined(lines, str(path)) for command in _split(words) if command]


def _joined(lines: Sequence[str], file: str) -> Iterator[list[Word]]:
    words: list[Word] = []
    number = 0
    while number < len(lines):
        first, piece = number, lines[number]
        tokens = _tokens(piece)
        while tokens is None and number + 1 < len(lines):  # a quote that goes on
            number += 1
            piece = f"{piece}\n{lines[number]}"
            tokens = _tokens(piece)
        if tokens is None:
            raise Refused([Fault(f"{file}:{first + 1}:1", "a quote is not closed", "close it; nothing was run")])
        words += [Word(token, f"{file}:{first + 1}") for token in tokens]
        if not _goes_on(piece):
            yield words
            words = []
        number += 1
    yield words


def _tokens(piece: str) -> list[str] | None:
    """Words of a line, None where a quote is open."""
    text = hide_quoted(piece.removesuffix("\\") if _goes_on(piece) else piece)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=OPERATORS)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer) if not _is_comment(piece) else []
    except ValueError:
        return None


def _goes_on(piece: str) -> bool:
    """Whether the next line belongs to this one; a comment ends with its line."""
    backslashes = len(piece) - len(piece.rstrip("\\"))
    return backslashes % 2 == 1 and not _is_comment(piece)


def _is_comment(piece: str) -> bool:
    return piece.lstrip().startswith("#")


def _split(words: Sequence[Word]) -> Iterator[list[Word]]:
    """Commands of one line. What is sent to files is left out, and a comment at the end."""
    command: list[Word] = []
    skipped = False
    for word in words:
        if word.text in ENDS:
            yield command
            command, skipped = [], False
        elif word.text.startswith("#"):
            break
        elif set(word.text) & set("<>") and not set(word.text) - set(OPERATORS):
            skipped = True
            if command and command[-1].text in ("1", "2"):
                command.pop()
        elif skipped:
            skipped = False
        else:
            command.append(word)
    yield command
