"""From a dataset and a bucketer to batches: in order, in worker processes, resumable at any batch.

The stream of batches is a pure function of (recipe, epoch, position), so neither workers nor prefetching have a state
to save: a run resumes by starting the stream at a position.
"""

import signal
from collections.abc import Iterator, Sequence

import torch
from attrs import evolve, frozen
from torch import Tensor
from torch.utils.data import DataLoader

from vidgen.errors import RunError, VidgenError
from vidgen.interfaces import Bucketer, Dataset, Request, Sample
from vidgen.rng import numpy_generator

IMAGE_FPS = 120.0  # what Open-Sora's models were told for a still image


@frozen
class Position:
    """A place in the data: batches `batch` and later of epoch `epoch` are still to come. Counted over all ranks."""

    epoch: int = 0
    batch: int = 0


@frozen
class Ask:
    """A request with everything its answer depends on."""

    position: Position
    request: Request


@frozen
class Failure:
    """A sample that could not be had; carried out of the worker as data, since an exception there loses its type."""

    error: VidgenError


@frozen
class Batch:
    """video: (B, 3, T, H, W) uint8. rows: of the dataset. following: where the stream goes on after this batch."""

    video: Tensor
    texts: list[str]
    fps: Tensor
    rows: tuple[int, ...]
    epoch: int
    following: Position

    def pin_memory(self) -> "Batch":
        """The same in page-locked memory, from where a GPU can fetch it while it computes; the DataLoader asks."""
        return evolve(self, video=self.video.pin_memory(), fps=self.fps.pin_memory())

    def sizes(self) -> dict[str, Tensor]:
        """`height`, `width`, `num_frames`, `fps`, `ar`, each (B,) float32."""
        _, _, frames, height, width = self.video.shape
        return size_numbers(len(self.texts), frames, (height, width), self.fps)


def size_numbers(count: int, num_frames: int, size: tuple[int, int], fps: Tensor | float) -> dict[str, Tensor]:
    """What models may be told of clips, (count,) float32 each: ar = height / width, stills have 120 fps."""
    height, width = size
    rate = torch.as_tensor(fps, dtype=torch.float32).expand(count)
    if num_frames == 1:
        rate = torch.full((count,), IMAGE_FPS)
    numbers = {"height": float(height), "width": float(width), "num_frames": float(num_frames), "ar": height / width}
    return {**{name: torch.full((count,), number) for name, number in numbers.items()}, "fps": rate.clone()}


class Stream:
    """Lists of `Ask`, batch after batch and epoch after epoch; the DataLoader's batch sampler.

    epochs: stop after so many in all; None never stops.
    """

    def __init__(
        self,
        dataset: Dataset,
        bucketer: Bucketer,
        start: Position,
        epochs: int | None,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self._table, self._bucketer = dataset.table, bucketer
        self._start, self._epochs = start, epochs
        self._rank, self._num_ranks = rank, num_ranks

    def __iter__(self) -> Iterator[list[Ask]]:
        epoch, first = self._start.epoch, self._start.batch
        while self._epochs is None or epoch < self._epochs:
            plan = self._bucketer.plan(self._table, epoch, self._num_ranks)
            # A position saved on another number of ranks is rounded up to a whole step: no sample is seen twice.
            for step in range(-(-first // self._num_ranks), len(plan) // self._num_ranks):
                batch = plan[step * self._num_ranks + self._rank]
                yield [Ask(Position(epoch, (step + 1) * self._num_ranks), request) for request in batch]
            epoch, first = epoch + 1, 0

    def steps_per_epoch(self) -> int:
        """Batches per rank in the first epoch."""
        return len(self._bucketer.plan(self._table, 0, self._num_ranks)) // self._num_ranks


class Reader:
    """Answers asks; what the workers run."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self._dataset, self._seed = dataset, seed

    def __getitem__(self, ask: Ask) -> tuple[Ask, Sample | Failure]:
        rng = numpy_generator(self._seed, "sample", ask.position.epoch, ask.request.row)
        try:
            return ask, self._dataset.get(ask.request.row, ask.request.num_frames, ask.request.size, rng)
        except VidgenError as error:
            return ask, Failure(error)


def make_loader(dataset: Dataset, stream: Stream, seed: int, num_workers: int, pin: bool) -> DataLoader[Batch]:
    """Batches of `stream`; `pin` when they go to a GPU."""
    return DataLoader(
        Reader(dataset, seed),  # type: ignore[arg-type]  # asks are its indices
        batch_sampler=stream,  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=num_workers,
        pin_memory=pin,
        worker_init_fn=_leave_signals_to_the_main_process if num_workers else None,
        generator=torch.Generator(),  # its own, so that starting workers draws nothing from the global one
    )


def collate(answers: Sequence[tuple[Ask, Sample | Failure]]) -> Batch | Failure:
    """Samples to a batch; the first failure instead, if there is one."""
    samples: list[Sample] = []
    for _, answer in answers:
        if isinstance(answer, Failure):
            return answer
        samples.append(answer)
    last = answers[-1][0]
    return Batch(
        video=torch.stack([sample.video for sample in samples]),
        texts=[sample.text for sample in samples],
        fps=torch.tensor([sample.fps for sample in samples], dtype=torch.float32),
        rows=tuple(ask.request.row for ask, _ in answers),
        epoch=last.position.epoch,
        following=last.position,
    )


def batches(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """The loader's batches. Raises: what a sample failed with; RunError, when a worker died."""
    answers = iter(loader)
    while True:
        try:
            batch = next(answers)
        except StopIteration:
            return
        except RuntimeError as error:
            raise RunError(
                f"a process that reads data died ({str(error).splitlines()[0]}). It may have run out of memory: lower "
                "num_workers, or set it to 0 to see the cause."
            ) from error
        if isinstance(batch, Failure):
            raise batch.error
        yield batch


def _leave_signals_to_the_main_process(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
