"""The line of clips that wait, are made one at a time, and have been made, in a thread of its own."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Thread, get_ident
from types import TracebackType
from typing import Any, Literal

from attrs import evolve, field, frozen
from vidgen.errors import Problem, RecipeError, RunError, UserError, VidgenError
from vidgen.interfaces import Media

from vidgen_ui.studio import Order, Studio

LOG = logging.getLogger("vidgen")
LONGEST = 100  # clips that may wait


class Cancelled(Exception):
    """Raised between two denoising steps of a clip that nobody wants any more."""


@frozen(kw_only=True)
class Entry:
    """One clip, as it is now. done, total: denoising steps. text: why it failed. notes: what was done otherwise than
    asked. media: the file, when done."""

    number: int
    order: Order
    state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
    done: int = 0
    total: int = 0
    text: str = ""
    notes: Sequence[str] = ()
    media: Media | None = None
    stop: Event = field(factory=Event, repr=False)


class Line:
    """A context manager: on leaving, what runs is cancelled and waited for. outputs: each clip gets the next free
    number of a folder in it."""

    def __init__(self, studio: Studio, outputs: Path) -> None:
        self._studio, self._outputs = studio, outputs
        self._entries: dict[int, Entry] = {}
        self._lock = Lock()
        self._waiting: SimpleQueue[int | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="sampling", daemon=True)

    def __enter__(self) -> "Line":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for entry in self.entries():
            self.cancel(entry.number)
        self._waiting.put(None)
        self._thread.join()

    def add(self, order: Order) -> Entry:
        """Let a clip wait for its turn. Raises: UserError, when too many do."""
        with self._lock:
            if sum(entry.state == "waiting" for entry in self._entries.values()) >= LONGEST:
                raise UserError(f"{LONGEST} clips are waiting: cancel some, or come back later")
            entry = Entry(number=len(self._entries) + 1, order=order)
            self._entries[entry.number] = entry
        self._waiting.put(entry.number)
        return entry

    def cancel(self, number: int) -> None:
        """A clip that waits is never begun, one that is being made ends with its denoising step, with no clip left of
        it; one that is made stays. Raises: KeyError, when there is none of that number."""
        with self._lock:
            entry = self._entries[number]
            entry.stop.set()
            if entry.state == "waiting":
                self._entries[number] = evolve(entry, state="cancelled")

    def entries(self) -> list[Entry]:
        """All clips of this session, in order."""
        with self._lock:
            return list(self._entries.values())

    def entry(self, number: int) -> Entry:
        """Raises: KeyError, when there is none of that number."""
        with self._lock:
            return self._entries[number]

    def _work(self) -> None:
        while (number := self._waiting.get()) is not None:
            if self._begun(number):
                with _noted() as notes:
                    outcome = self._outcome(number)
                self._change(number, notes=tuple(notes), **outcome)

    def _begun(self, number: int) -> bool:
        with self._lock:
            entry = self._entries[number]
            if entry.state == "waiting":
                self._entries[number] = evolve(entry, state="running")
            return entry.state == "waiting"

    def _outcome(self, number: int) -> dict[str, Any]:
        """Make it. Returns how the entry ends."""
        try:
            media = self._made(number)
        except Cancelled:
            return {"state": "cancelled"}
        except VidgenError as error:
            return {"state": "failed", "text": told(error)}
        except Exception as error:  # a mistake of ours or memory is short: the page says so, and the next clip is made
            LOG.error("a clip failed", exc_info=True)
            return {"state": "failed", "text": f"{type(error).__name__}: {error}"}
        return {"state": "cancelled"} if media is None else {"state": "done", "media": media}

    def _made(self, number: int) -> Media | None:
        entry = self.entry(number)

        def progress(_: str, done: int, total: int) -> None:
            if entry.stop.is_set():
                raise Cancelled
            self._change(number, done=done, total=total)

        return self._studio.make(entry.order, next_folder(self._outputs), progress, entry.stop.is_set)

    def _change(self, number: int, **changes: Any) -> None:
        with self._lock:
            self._entries[number] = evolve(self._entries[number], **changes)


def told(error: VidgenError) -> str:
    """An error's text for the page, which is no file with places."""
    if not isinstance(error, RecipeError):
        return str(error)
    problems: list[Problem] = [evolve(one, place="") for one in error.problems]
    return "\n".join(map(str, problems))


def next_folder(outputs: Path) -> Path:
    """Make the folder behind the highest number in `outputs`: 0001, 0002, ... Raises: RunError."""
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        taken = [int(path.name) for path in outputs.iterdir() if path.name.isdecimal()]
        for number in count(max(taken, default=0) + 1):
            try:
                (outputs / f"{number:04d}").mkdir()
            except FileExistsError:  # of another session, just now
                continue
            return outputs / f"{number:04d}"
    except OSError as error:
        raise RunError(
            f"{outputs} cannot be written ({error.strerror}). Choose another folder with --outputs."
        ) from error
    raise AssertionError("numbers do not end")


@contextmanager
def _noted() -> Iterator[list[str]]:
    """Collect what this thread warns of."""
    handler = _Notes(logging.WARNING)
    LOG.addHandler(handler)
    try:
        yield handler.texts
    finally:
        LOG.removeHandler(handler)


class _Notes(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.texts: list[str] = []
        self._thread = get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread and record.levelno == logging.WARNING:
            self.texts.append(record.getMessage())
