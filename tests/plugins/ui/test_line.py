import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from vidgen.errors import UserError
from vidgen.interfaces import Media
from vidgen_ui.line import LONGEST, Entry, Line, next_folder

Making = Callable[[Any, Path, Any, Any], Media | None]


@contextmanager
def line_of(make: Making, outputs: Path) -> Iterator[Line]:
    with Line(SimpleNamespace(make=make), outputs) as line:
        yield line


def ended(line: Line, number: int, until: Any) -> Entry:
    until(lambda: line.entry(number).state not in ("waiting", "running"))
    return line.entry(number)


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    pause = Event()

    def found(asked: Callable[[], Any]) -> Any:
        for _ in range(3000):
            if value := asked():
                return value
            pause.wait(0.01)
        raise AssertionError("it never came")

    return found


def test_clips_are_made_in_turn_each_in_a_folder_of_its_own(tmp_path: Path, until: Any) -> None:
    def make(order: Any, folder: Path, progress: Any, stopped: Any) -> Media:
        progress("denoise", 1, 3)
        return Media(folder / order, order, (1, 2, 3))

    with line_of(make, tmp_path / "ui") as line:
        for name in ("a", "b"):
            line.add(name)
        found = [ended(line, number, until) for number in (1, 2)]
    assert [entry.state for entry in found] == ["done", "done"]
    assert [entry.media.path for entry in found] == [tmp_path / "ui/0001/a", tmp_path / "ui/0002/b"]
    assert (found[0].done, found[0].total) == (1, 3)


def test_one_that_fails_says_why_and_the_next_is_made(tmp_path: Path, until: Any) -> None:
    def make(order: Any, folder: Path, *_: Any) -> Media:
        if order == "wrong":
            raise UserError("frames do not fit")
        if order == "broken":
            raise RuntimeError("not enough memory")
        return Media(folder, order, (1, 2, 3))

    with line_of(make, tmp_path) as line:
        for name in ("wrong", "broken", "right"):
            line.add(name)
        states = [(ended(line, number, until).state, line.entry(number).text) for number in (1, 2, 3)]
    assert states == [("failed", "frames do not fit"), ("failed", "RuntimeError: not enough memory"), ("done", "")]


def test_what_runs_ends_at_its_next_step_and_what_waits_is_never_begun(tmp_path: Path, until: Any) -> None:
    begun = []

    def make(order: Any, folder: Path, progress: Any, stopped: Any) -> None:
        begun.append(order)
        until(stopped)
        progress("denoise", 2, 3)
        raise AssertionError("goes on after it was cancelled")

    with line_of(make, tmp_path) as line:
        line.add("first")
        line.add("second")
        until(lambda: begun)
        assert [entry.state for entry in line.entries()] == ["running", "waiting"]
        line.cancel(2)
        assert line.entry(2).state == "cancelled"
        line.cancel(1)
        assert ended(line, 1, until).state == "cancelled"
    assert begun == ["first"]


def test_leaving_ends_what_runs(tmp_path: Path, until: Any) -> None:
    def make(order: Any, folder: Path, progress: Any, stopped: Any) -> None:
        until(stopped)

    with line_of(make, tmp_path) as line:
        line.add("first")
        until(lambda: line.entry(1).state == "running")
    assert line.entry(1).state == "cancelled"


def test_warnings_of_a_clip_are_its_notes_and_those_of_others_are_not(tmp_path: Path, until: Any) -> None:
    begun, go_on = Event(), Event()

    def make(order: Any, folder: Path, *_: Any) -> Media:
        logging.getLogger("vidgen").warning("frame %d is taken", 4)
        begun.set()
        go_on.wait(30)
        return Media(folder, order, (1, 2, 3))

    with line_of(make, tmp_path) as line:
        line.add("first")
        begun.wait(30)
        logging.getLogger("vidgen").warning("of another thread")
        go_on.set()
        assert list(ended(line, 1, until).notes) == ["frame 4 is taken"]


def test_too_many_that_wait_are_refused(tmp_path: Path) -> None:
    line = Line(SimpleNamespace(), tmp_path)  # nobody works
    for _ in range(LONGEST):
        line.add("again")
    with pytest.raises(UserError, match="100 clips are waiting"):
        line.add("one more")


def test_folders_go_on_behind_the_highest_number_there(tmp_path: Path) -> None:
    (tmp_path / "0007").mkdir()
    (tmp_path / "references-x").mkdir()
    assert [next_folder(tmp_path).name for _ in range(2)] == ["0008", "0009"]
