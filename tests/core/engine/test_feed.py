"""Reading goes on whatever breaks: a sample, a worker, or one that never comes back."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from vidgen import RunError, UserError
from vidgen.engine.batch import Ask, Batch, Position
from vidgen.engine.feed import Feed
from vidgen.engine.watchdog import within
from vidgen.interfaces import Request, Sample
from vidgen.recipe.schema import ReadingOptions

ROWS = 1200  # enough that one bad row is no reason to stop
Deed = Callable[[], object]


class Rows:
    """Clips that say which row they are; before that, a row does what `deeds` has for it."""

    def __init__(self, deeds: Mapping[int, Deed], count: int = ROWS) -> None:
        self.table = pa.table({"text": ["a"] * count})
        self._deeds = deeds
        self.asked: list[int] = []

    def get(self, row: int, num_frames: int, size: tuple[int, int], rng: np.random.Generator) -> Sample:
        self.asked.append(row)
        if row in self._deeds:
            self._deeds[row]()
        return Sample(video=torch.full((3, num_frames, *size), row % 256, dtype=torch.uint8), text=str(row), fps=8.0)

    def identity(self, row: int) -> str:
        return str(row)


class Asks:
    """Batches of two rows, for each row of which the next two may stand in."""

    def __init__(self, batches: int, epochs: int = 1, spares: int = 2) -> None:
        self._batches, self._epochs, self._spares = batches, epochs, spares

    def __iter__(self) -> Iterator[list[Ask]]:
        for epoch in range(self._epochs):
            for number in range(self._batches):
                yield [self._ask(row, Position(epoch, number + 1)) for row in (2 * number, 2 * number + 1)]

    def _ask(self, row: int, position: Position) -> Ask:
        spares = tuple(range(row + 100, row + 100 + self._spares))
        return Ask(position, Request(row, 1, (2, 3), spares), (row, *spares))


@pytest.fixture
def feed(tmp_path: Path) -> Callable[..., Feed]:
    def make(dataset: Rows, asks: Asks, *, stand_ins: bool = True, **options: Any) -> Feed:
        reading = ReadingOptions(**{"num_workers": 0, **options})
        cpu = torch.device("cpu")
        return Feed(dataset, asks, reading, seed=0, outputs=tmp_path, device=cpu, stand_ins=stand_ins)

    return make


def fails(error: Exception) -> Deed:
    def fail() -> None:
        raise error

    return fail


def rows(batches: list[Batch]) -> list[tuple[int, ...]]:
    return [batch.rows for batch in batches]


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "bad_samples.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_another_row_of_the_bucket_stands_in_for_one_that_fails(
    feed: Callable[..., Feed], tmp_path: Path, num_workers: int
) -> None:
    dataset = Rows({3: fails(RunError("row 3: cut off")), 103: fails(RunError("row 103: cut off"))})
    batches = list(feed(dataset, Asks(3), num_workers=num_workers))
    assert rows(batches) == [(0, 1), (2, 104), (4, 5)]
    assert batches[1].texts == ["2", "104"] and int(batches[1].groups[0].video[1, 0, 0, 0, 0]) == 104
    assert [(one["row"], one["epoch"], one["reason"]) for one in records(tmp_path)] == [
        (3, 0, "row 3: cut off"),
        (103, 0, "row 103: cut off"),
    ]


def test_a_bad_row_is_told_once_and_not_tried_again_in_the_next_epoch(
    feed: Callable[..., Feed], tmp_path: Path
) -> None:
    dataset = Rows({3: fails(RunError("cut off"))})
    batches = list(feed(dataset, Asks(3, epochs=2)))
    assert rows(batches) == [(0, 1), (2, 103), (4, 5)] * 2
    assert dataset.asked.count(3) == 1 and len(records(tmp_path)) == 1


def test_a_resumed_run_knows_the_bad_rows_and_tries_them_again_an_epoch_later(
    feed: Callable[..., Feed], tmp_path: Path
) -> None:
    text = '{"row": 3, "epoch": 0, "reason": "cut off"}\n{"row": 5, "ep'
    (tmp_path / "bad_samples.jsonl").write_text(text)  # the last line was cut by a kill
    dataset = Rows({})
    assert rows(list(feed(dataset, Asks(3, epochs=3)))) == [(0, 1), (2, 103), (4, 5)] * 2 + [(0, 1), (2, 3), (4, 5)]
    assert 3 in dataset.asked and len((tmp_path / "bad_samples.jsonl").read_text()) == len(text)


def test_a_row_without_stand_ins_makes_its_batch_smaller(feed: Callable[..., Feed]) -> None:
    dataset = Rows({3: fails(RunError("cut off"))})
    assert rows(list(feed(dataset, Asks(3, spares=0)))) == [(0, 1), (2,), (4, 5)]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_next_batch_takes_the_place_of_one_of_which_nothing_can_be_read(
    feed: Callable[..., Feed], num_workers: int
) -> None:
    dataset = Rows({row: fails(RunError("cut off")) for row in (2, 3)})
    batches = list(feed(dataset, Asks(3, spares=0), num_workers=num_workers))
    assert rows(batches) == [(0, 1), (4, 5), (4, 5)]
    assert [batch.following for batch in batches] == [Position(0, 1), Position(0, 2), Position(0, 3)]


def test_when_nothing_of_the_next_batches_can_be_read_the_run_stops(feed: Callable[..., Feed]) -> None:
    dataset = Rows({row: fails(UserError(f"row {row}: too short")) for row in range(2, 6)})
    with pytest.raises(UserError, match=r"a batch of which no sample(.|\n)*row 2: too short\n    row 3: too short"):
        list(feed(dataset, Asks(3, spares=0)))


def test_without_stand_ins_such_a_batch_is_passed_over(feed: Callable[..., Feed]) -> None:
    dataset = Rows({row: fails(RunError("cut off")) for row in (2, 3)})
    assert rows(list(feed(dataset, Asks(3), stand_ins=False))) == [(0, 1), (4, 5)]


def test_more_bad_samples_than_allowed_stop_the_run_with_a_summary(feed: Callable[..., Feed], tmp_path: Path) -> None:
    """Of 1,200 rows, 1 % of the first 1,000 may be bad: the eleventh is too many."""
    dataset = Rows({row: fails(RunError(f"row {row} is cut off")) for row in range(0, 40, 2)})
    with pytest.raises(RunError) as caught:
        list(feed(dataset, Asks(30)))
    text = str(caught.value)
    assert text.startswith("11 of 22 samples could not be read, more than max_bad_fraction: 0.01 allows:\n    row 0 is")
    assert "and 6 more" in text and "bad_samples.jsonl" in text and len(records(tmp_path)) == 11
    assert len(list(feed(Rows(dataset._deeds), Asks(15), max_bad_fraction=0.5))) == 15


def test_a_share_of_a_small_dataset_is_one_of_its_rows(feed: Callable[..., Feed]) -> None:
    with pytest.raises(RunError, match="1 of 2 samples"):
        list(feed(Rows({1: fails(RunError("cut off"))}, count=6), Asks(3)))


def test_a_mistake_in_a_dataset_is_told_with_its_place(feed: Callable[..., Feed], tmp_path: Path) -> None:
    list(feed(Rows({3: lambda: {}["x"]}), Asks(3)))
    (record,) = records(tmp_path)
    assert (
        record["reason"].startswith("row 3 (counting from 0): KeyError: 'x' (in <lambda>, ")
        and "test_feed.py:" in record["reason"]
    )


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_sample_that_takes_too_long_is_replaced(feed: Callable[..., Feed], tmp_path: Path, num_workers: int) -> None:
    forever = threading.Event()
    batches = list(feed(Rows({3: forever.wait}), Asks(3), num_workers=num_workers, sample_timeout=0.3))
    forever.set()
    assert rows(batches) == [(0, 1), (2, 103), (4, 5)]
    assert records(tmp_path)[0]["reason"] == "row 3 (counting from 0): it took longer than sample_timeout, 0.3 s"


def test_work_within_its_limit_returns_and_raises_as_without() -> None:
    assert within(5.0, lambda: 3) == within(None, lambda: 3) == 3
    with pytest.raises(KeyError, match="gone"):
        within(5.0, fails(KeyError("gone")))


def test_a_killed_worker_is_replaced_and_its_sample_named(feed: Callable[..., Feed], tmp_path: Path) -> None:
    """SIGKILL, as of a machine out of memory; the batches are those that come when the row is merely bad."""
    dataset = Rows({5: lambda: os.kill(os.getpid(), signal.SIGKILL)})
    batches = list(feed(dataset, Asks(6), num_workers=2))
    assert rows(batches) == [(0, 1), (2, 3), (4, 105), (6, 7), (8, 9), (10, 11)]
    (record,) = records(tmp_path)
    assert (record["row"], record["reason"]) == (5, "row 5 (counting from 0): the process that read it died")


def test_slow_samples_after_a_restart_are_waited_for(feed: Callable[..., Feed], tmp_path: Path) -> None:
    """What a dead worker was at says nothing of those that come after it."""
    deeds: dict[int, Deed] = {row: lambda: time.sleep(1.5) for row in (6, 8)}
    dataset = Rows({**deeds, 5: lambda: os.kill(os.getpid(), signal.SIGKILL)})
    batches = list(feed(dataset, Asks(6), num_workers=2))
    assert rows(batches) == [(0, 1), (2, 3), (4, 105), (6, 7), (8, 9), (10, 11)]
    assert [record["row"] for record in records(tmp_path)] == [5]


def test_a_worker_that_dies_never_interrupts_a_step(feed: Callable[..., Feed]) -> None:
    """torch's DataLoader raises from a signal handler wherever the main process is; the feed waits to be asked."""
    dataset = Rows({7: lambda: os.kill(os.getpid(), signal.SIGKILL)})
    stream = iter(feed(dataset, Asks(8), num_workers=1))
    first = next(stream)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:  # a step, while the worker reads ahead and dies
        sum(range(1000))
    assert rows([first, *stream])[:4] == [(0, 1), (2, 3), (4, 5), (6, 107)]


def test_workers_that_keep_dying_end_the_run(feed: Callable[..., Feed]) -> None:
    deeds = {row: lambda: os.kill(os.getpid(), signal.SIGKILL) for row in (2, 102, 103, 3, 4)}
    with pytest.raises(RunError, match=r"died 4 times in a row(.|\n)*lower num_workers"):
        list(feed(Rows(deeds), Asks(6), num_workers=1))


def test_memory_of_a_worker_stays_flat(feed: Callable[..., Feed]) -> None:
    """10,000 reads under the watchdog; a clip of 60 kB kept from each would be 600 MB."""
    import psutil

    class Large(Rows):
        def get(self, row: int, num_frames: int, size: tuple[int, int], rng: np.random.Generator) -> Sample:
            video = torch.zeros(3, 1, 100, 200, dtype=torch.uint8)
            return Sample(video=video, text=str(psutil.Process().memory_info().rss), fps=8.0)

    sizes = [int(batch.texts[-1]) for batch in feed(Large({}, count=20_000), Asks(5000), num_workers=1)]
    assert max(sizes[2500:]) - min(sizes[2500:]) < 20e6
