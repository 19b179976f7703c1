"""The stream of batches: a pure function of its position, whatever the workers and ranks."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
import torch
from vidgen import RunError
from vidgen.engine.data import (
    Answer,
    Ask,
    Batch,
    Failure,
    Position,
    Reader,
    Stream,
    batches,
    collate,
    make_loader,
    size_numbers,
)
from vidgen.interfaces import Request, Sample


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
    seen = list(batches(make_loader(Reader(dataset, 0, None), stream, num_workers=0, pin=False)))
    for number, batch in enumerate(seen[:-1]):
        rest = rows_of(Stream(dataset, Shifting(), batch.following, epochs=2))
        assert rest == [later.rows for later in seen[number + 1 :]]


def test_ranks_share_an_epoch_without_overlap() -> None:
    dataset = Rows(12)
    alone = rows_of(Stream(dataset, Shifting(), Position(), epochs=1))
    ranks = [rows_of(Stream(dataset, Shifting(), Position(), 1, rank, 3)) for rank in range(3)]
    assert [ranks[i % 3][i // 3] for i in range(6)] == alone


def test_a_position_survives_another_number_of_ranks() -> None:
    """Two ranks, one step done: one rank goes on with the third batch, four ranks with the next whole step."""
    dataset = Rows(16)
    whole = rows_of(Stream(dataset, Shifting(), Position(), 1))
    first_step = next(iter(Stream(dataset, Shifting(), Position(), 1, 1, 2)))
    following = first_step[-1].position
    assert rows_of(Stream(dataset, Shifting(), following, 1)) == whole[2:]
    assert rows_of(Stream(dataset, Shifting(), following, 1, 0, 4)) == [whole[4]]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_draws_depend_on_epoch_and_row_alone(num_workers: int) -> None:
    """D6: no worker repeats another's draws, no epoch the last one's."""
    dataset = Rows(12)

    def drawn(workers: int, start: Position) -> dict[tuple[int, int], int]:
        loader = make_loader(Reader(dataset, 3, None), Stream(dataset, Shifting(), start, 2), workers, pin=False)
        return {
            (b.epoch, row): int(v[0, 0, 0, 0]) for b in batches(loader) for row, v in zip(b.rows, b.video, strict=True)
        }

    everything = drawn(0, Position())
    assert drawn(num_workers, Position()) == everything
    assert drawn(num_workers, Position(1, 2)).items() <= everything.items()
    both = [row for epoch, row in everything if epoch == 1 and (0, row) in everything]
    assert any(everything[0, row] != everything[1, row] for row in both)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_failing_sample_keeps_its_error(num_workers: int) -> None:
    dataset = Rows(12, broken=2)
    loader = make_loader(Reader(dataset, 0, None), Stream(dataset, Shifting(), Position(), 1), num_workers, pin=False)
    with pytest.raises(RunError, match=r"^row 2 is broken$"):
        list(batches(loader))


def test_collating_keeps_order_and_types() -> None:
    asks = [Ask(Position(1, 4), Request(row, 2, (3, 5))) for row in (5, 2)]
    samples = [Rows(9).get(ask.request.row, 2, (3, 5), np.random.default_rng(0)) for ask in asks]
    batch = collate([Answer(ask, 0, sample) for ask, sample in zip(asks, samples, strict=True)])
    assert isinstance(batch, Batch)
    assert (batch.rows, batch.texts, batch.following) == ((5, 2), ["row 5", "row 2"], Position(1, 4))
    assert batch.video is not None and batch.size == (2, 3, 5)
    assert (batch.video.shape, batch.video.dtype) == ((2, 3, 2, 3, 5), torch.uint8)
    assert isinstance(collate([Answer(asks[0], 0, samples[0]), Answer(asks[1], 0, Failure(RunError("no")))]), Failure)


def test_sizes_are_pixels_and_stills_have_120_frames_a_second() -> None:
    numbers = size_numbers(2, 3, (30, 60), torch.tensor([8.0, 12.0]))
    assert {name: value.tolist() for name, value in numbers.items()} == {
        "height": [30.0, 30.0],
        "width": [60.0, 60.0],
        "num_frames": [3.0, 3.0],
        "ar": [0.5, 0.5],
        "fps": [8.0, 12.0],
    }
    assert size_numbers(2, 1, (30, 60), 24.0)["fps"].tolist() == [120.0, 120.0]
