"""The stream of batches: a pure function of its position, whatever the workers and ranks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from attrs import evolve
from vidgen import RunError
from vidgen.engine.batch import Answer, Ask, Batch, Failure, Missed, Position, collate, size_numbers
from vidgen.engine.data import Stream
from vidgen.engine.feed import Feed
from vidgen.interfaces import Assignment, Request, Sample
from vidgen.recipe.schema import ReadingOptions


def feed(dataset: "Rows", stream: Stream, num_workers: int = 0, *, seed: int = 0, outputs: Path = Path()) -> Feed:
    options = ReadingOptions(num_workers=num_workers)
    return Feed(dataset, stream, options, seed=seed, outputs=outputs, device=torch.device("cpu"))


class Rows:
    """A dataset whose clips say which row they are and what they drew."""

    def __init__(self, count: int, broken: int = -1) -> None:
        self.table = pa.table({"text": [f"row {i}" for i in range(count)]})
        self._broken = broken

    def get(self, row: int, num_frames: int, size: tuple[int, int], rng: np.random.Generator) -> Sample:
        if row == self._broken:
            raise RunError(f"row {row} is broken")
        video = torch.full((3, num_frames, *size), row, dtype=torch.uint8)
        video[0, 0, 0, 0] = int(rng.integers(256))
        return Sample(video=video, text=f"row {row}", fps=8.0)

    def identity(self, row: int) -> str:
        return str(row)


class Shifting:
    """Batches of two whose order and number differ between epochs, as three-level buckets' do."""

    ragged = False

    def assign(self, table: pa.Table, epoch: int) -> Assignment:
        raise NotImplementedError

    def plan(self, table: pa.Table, epoch: int, num_ranks: int) -> Sequence[Sequence[Request]]:
        rows = [(row * (epoch + 1) + epoch) % table.num_rows for row in range(table.num_rows - 2 * epoch)]
        groups = [rows[i : i + 2] for i in range(0, len(rows) - 1, 2)]
        groups = groups[: len(groups) // num_ranks * num_ranks]
        return [[Request(row, 2, (3, 5)) for row in group] for group in groups]


def rows_of(stream: Stream) -> list[tuple[int, ...]]:
    return [tuple(ask.request.row for ask in asks) for asks in stream]


@pytest.mark.parametrize(("epoch", "batch"), [(0, 0), (0, 3), (1, 0), (1, 2), (2, 1)])
def test_a_stream_goes_on_where_a_position_points_in_any_epoch(epoch: int, batch: int) -> None:
    """D1, D2: epochs differ in order and length, and the position counts batches that were used, none that were not."""
    dataset = Rows(12)
    lengths = [len(Shifting().plan(dataset.table, e, 1)) for e in range(3)]
    assert len(set(lengths)) == 3
    whole = rows_of(Stream(dataset, Shifting(), Position(), epochs=3))
    rest = rows_of(Stream(dataset, Shifting(), Position(epoch, batch), epochs=3))
    assert rest == whole[sum(lengths[:epoch]) + batch :]


def test_every_batch_says_where_the_stream_goes_on() -> None:
    dataset = Rows(12)
    stream = Stream(dataset, Shifting(), Position(), epochs=2)
    seen = list(feed(dataset, stream))
    for number, batch in enumerate(seen[:-1]):
        rest = rows_of(Stream(dataset, Shifting(), batch.following, epochs=2))
        assert rest == [later.rows for later in seen[number + 1 :]]


def test_ranks_share_an_epoch_without_overlap() -> None:
    dataset = Rows(12)
    alone = rows_of(Stream(dataset, Shifting(), Position(), epochs=1))
    ranks = [rows_of(Stream(dataset, Shifting(), Position(), 1, rank, 3)) for rank in range(3)]
    assert [ranks[i % 3][i // 3] for i in range(6)] == alone


def test_a_position_survives_another_number_of_ranks() -> None:
    """Two ranks, one step done. One rank goes on with the third batch; so do four, whose next step ends in the epoch
    after, in which they go on from there: no batch is seen twice or missed."""
    dataset = Rows(16)
    whole = rows_of(Stream(dataset, Shifting(), Position(), 2))
    first_step = next(iter(Stream(dataset, Shifting(), Position(), 2, 1, 2)))
    following = first_step[-1].position
    assert rows_of(Stream(dataset, Shifting(), following, 2)) == whole[2:]
    ranks = [list(Stream(dataset, Shifting(), following, 2, rank, 4)) for rank in range(4)]
    rows = [tuple(ask.request.row for ask in ranks[i % 4][i // 4]) for i in range(8)]
    assert rows == whole[2:10]
    assert [asks[0].epoch for asks in (one[1] for one in ranks)] == [0, 0, 1, 1]
    assert {asks[0].position for asks in (one[1] for one in ranks)} == {Position(1, 2)}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_draws_depend_on_epoch_and_row_alone(num_workers: int) -> None:
    """D6: no worker repeats another's draws, no epoch the last one's."""
    dataset = Rows(12)

    def drawn(workers: int, start: Position) -> dict[tuple[int, int], int]:
        batches = list(feed(dataset, Stream(dataset, Shifting(), start, 2), workers, seed=3))
        return {
            (b.epoch, row): int(v[0, 0, 0, 0])
            for b in batches
            for row, v in zip(b.rows, b.groups[0].video, strict=True)
        }

    everything = drawn(0, Position())
    assert drawn(num_workers, Position()) == everything
    assert drawn(num_workers, Position(1, 2)).items() <= everything.items()
    both = [row for epoch, row in everything if epoch == 1 and (0, row) in everything]
    assert any(everything[0, row] != everything[1, row] for row in both)


def test_collating_keeps_order_and_types() -> None:
    batch = collate([answer(row, (2, 3, 5)) for row in (5, 2)])
    assert isinstance(batch, Batch)
    assert (batch.rows, batch.texts, batch.following) == ((5, 2), ["row 5", "row 2"], Position(1, 4))
    (group,) = batch.groups
    assert (group.places, batch.sizes) == ((0, 1), ((2, 3, 5), (2, 3, 5)))
    assert (group.video.shape, group.video.dtype) == ((2, 3, 2, 3, 5), torch.uint8)


def test_clips_of_several_sizes_are_collated_by_size() -> None:
    batch = collate([answer(5, (2, 3, 5)), answer(1, (1, 7, 4)), answer(2, (2, 3, 5))])
    assert isinstance(batch, Batch)
    assert batch.sizes == ((2, 3, 5), (1, 7, 4), (2, 3, 5))
    assert [(group.places, tuple(group.video.shape)) for group in batch.groups] == [
        ((0, 2), (2, 3, 2, 3, 5)),
        ((1,), (1, 3, 1, 7, 4)),
    ]
    assert batch.numbers()["height"].tolist() == [3, 7, 3] and batch.numbers()["fps"].tolist() == [8, 120, 8]


def test_what_failed_with_all_its_stand_ins_makes_a_batch_smaller() -> None:
    failed = evolve(answer(1, (2, 3, 5)), found=Failure(RunError("no")))
    batch = collate([answer(5, (2, 3, 5)), failed, answer(2, (2, 3, 5))])
    assert isinstance(batch, Batch) and batch.rows == (5, 2) and len(batch.groups[0].video) == 2
    assert isinstance(collate([failed, failed]), Missed)


def answer(row: int, size: tuple[int, int, int]) -> Answer:
    request = Request(row, size[0], size[1:])
    sample = Rows(9).get(row, size[0], size[1:], np.random.default_rng(0))
    return Answer(ask=Ask(Position(1, 4), request, (row,)), row=row, key=0, found=sample)


def test_sizes_are_pixels_and_stills_have_120_frames_a_second() -> None:
    numbers = size_numbers([(3, 30, 60)] * 2, torch.tensor([8.0, 12.0]))
    assert {name: value.tolist() for name, value in numbers.items()} == {
        "height": [30.0, 30.0],
        "width": [60.0, 60.0],
        "num_frames": [3.0, 3.0],
        "ar": [0.5, 0.5],
        "fps": [8.0, 12.0],
    }
    assert size_numbers([(1, 30, 60)] * 2, 24.0)["fps"].tolist() == [120.0, 120.0]
