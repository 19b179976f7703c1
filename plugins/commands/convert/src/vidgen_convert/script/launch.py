"""The one command of a script that starts a known program: its launcher's words, its program, its flags."""

import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from attrs import evolve, frozen
from vidgen.errors import UserError

from vidgen_convert.refused import Fault, Refused
from vidgen_convert.script.lines import Word, read_lines
from vidgen_convert.script.variables import NotBound, Variables, runs_something

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
FLOW = ("if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "function", "select")
STARTS = ("-m", "python", "python3")
"""What may stand between a launcher's flags and the program."""
WRITE_OUT = "write the value out"


@frozen
class Launch:
    """launcher: flags in front of the program. program: as in `programs`. arguments:
    words behind it. environment: variables set for it or exported."""

    launcher: Sequence[Word]
    program: str
    arguments: Sequence[Word]
    environment: Sequence[Word]


def read_launch(path: Path, programs: Collection[str]) -> Launch:
    """Read a script. programs: files or modules that are looked for.

    Raises: Refused, with every line that cannot be honoured; UserError, when no known program is started, or several.
    """
    reading = _Reading(programs)
    for words in read_lines(path):
        reading.take(words)
    if reading.faults:
        raise Refused(reading.faults)
    if len(reading.launches) > 1:
        places = ", ".join(launch.arguments[0].place if launch.arguments else "" for launch in reading.launches)
        raise UserError(f"{path} starts several programs ({places}): give each a script of its own")
    if not reading.launches:
        raise UserError(
            f"{path} starts no program that is known: looked for {', '.join(programs)}. Scripts of Open-Sora-Plan 1.3 "
            "that train or sample videos are read; of Open-Sora, give the .py configuration"
        )
    return reading.launches[0]


class _Reading:
    """Command after command."""

    def __init__(self, programs: Collection[str]) -> None:
        self.programs = programs
        self.values: dict[str, str] = {}
        self.exported: list[Word] = []
        self.launches: list[Launch] = []
        self.faults: list[Fault] = []

    def take(self, words: Sequence[Word]) -> None:
        first = words[0]
        if first.text in FLOW or first.text.startswith(("(", "{", "[")):
            self._fault(first, f"`{first.text}` is not carried out", "keep the lines that you use, without it")
        elif first.text.startswith("--"):
            hint = "join the lines: end the one above with a backslash, and take comments out from between them"
            self._fault(first, f"{first.text} begins a command of its own, because the line above ends its", hint)
        elif all(ASSIGNMENT.fullmatch(word.text) for word in words[first.text == "export" :]):
            self._bind(words[first.text == "export" :], exported=first.text == "export")
        else:
            self._launch(words)

    def _bind(self, words: Sequence[Word], *, exported: bool) -> None:
        for word in words:
            name, value = word.text.split("=", 1)
            if runs_something(value):
                self.values.pop(name, None)  # told where it is used
                continue
            try:
                self.values[name] = Variables(self.values).filled(value)
            except NotBound:
                continue
            self.exported += [word] if exported else []

    def _launch(self, words: Sequence[Word]) -> None:
        place = next((i for i, word in enumerate(words) if self._program(word.text)), None)
        if place is None:
            return
        before = [word for word in words[:place] if not ASSIGNMENT.fullmatch(word.text) and word.text != "env"]
        settings = [word for word in words[:place] if ASSIGNMENT.fullmatch(word.text)]
        flags = next((i for i, word in enumerate(before) if word.text.startswith("--")), len(before))
        launcher = [word for word in self._filled(before[flags:], strict=False) if word.text not in STARTS]
        arguments = list(self._filled(words[place + 1 :], strict=True))
        program = self._program(words[place].text)
        self.launches.append(Launch(launcher, program, arguments, [*self.exported, *settings]))

    def _program(self, word: str) -> str:
        name = word.rpartition("/")[2]
        return next((one for one in self.programs if name == one), "")

    def _filled(self, words: Sequence[Word], *, strict: bool) -> Iterator[Word]:
        for word in words:
            if runs_something(word.text):
                self._fault(word, f"{word.text} would have to be run", WRITE_OUT, strict=strict)
                continue
            try:
                texts = self._split(word.text)
            except NotBound as error:
                self._fault(word, f"${error} is not set in this script", WRITE_OUT, strict=strict)
                continue
            except ValueError:
                self._fault(word, f"a quote in the value of {word.text} is not closed", WRITE_OUT, strict=strict)
                continue
            yield from (evolve(word, text=one) for one in texts)

    def _split(self, word: str) -> list[str]:
        """A word with its variables filled in; several, where it holds flags. Raises: NotBound, ValueError."""
        text = Variables(self.values).filled(word)
        return shlex.split(text) if text.startswith("-") and text != word else [text]

    def _fault(self, word: Word, text: str, hint: str, *, strict: bool = True) -> None:
        if strict:
            self.faults.append(Fault(word.place, text, hint))
