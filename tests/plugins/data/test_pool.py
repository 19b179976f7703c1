"""Work in processes that hang or die."""

import os
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from vidgen.errors import RunError
from vidgen_data.pool import Lost, answers
from vidgen_data.probing import Task, look


def test_every_task_is_answered_once() -> None:
    tasks = list(range(-35, 0))
    assert sorted(answers(abs, tasks, workers=2, timeout=60)) == [(task, -task) for task in tasks]
    assert list(answers(abs, [], workers=2, timeout=60)) == []


def test_a_task_that_hangs_is_given_up_and_the_others_are_done() -> None:
    found = dict(answers(time.sleep, [0.001, 600, 0.002, 0.003], workers=1, timeout=3))
    assert found == {0.001: None, 600: Lost("no answer within 3 seconds"), 0.002: None, 0.003: None}


def test_a_task_that_ends_the_process_is_lost_alone() -> None:
    assert dict(answers(sys.exit, [3], workers=1, timeout=60)) == {3: Lost("the process that read it died (status 3)")}
    assert dict(answers(os._exit, [4, 5], workers=1, timeout=60)) == {
        status: Lost(f"the process that read it died (status {status})") for status in (4, 5)
    }


def test_tasks_are_fetched_as_they_are_needed() -> None:
    fetched = []

    def tasks() -> Iterator[int]:
        for task in range(500):
            fetched.append(task)
            yield task

    answering = answers(abs, tasks(), workers=1, timeout=60)
    next(answering)
    assert len(fetched) < 50
    answering.close()  # type: ignore[attr-defined]  # a generator


def test_processes_that_do_not_start_are_an_error() -> None:
    """What cannot be found by name in the new process ends it before it is ready."""
    name = Unfindable(abs)
    with pytest.raises(RunError, match="does not start: the process that read it died"):
        list(answers(name, [1], workers=1, timeout=60))


class Unfindable:
    """Can be sent to another process, and not be taken there."""

    def __init__(self, function: Callable[[int], int]) -> None:
        self.function = function

    def __call__(self, task: int) -> int:
        return self.function(task)

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return int, ("no number",)


def test_a_file_that_is_none_has_a_reason(tmp_path: object) -> None:
    assert look(Task(f"{tmp_path}/none.mp4")) == "No such file or directory"
    assert "No such file" in str(look(Task(f"{tmp_path}/none.png")))
