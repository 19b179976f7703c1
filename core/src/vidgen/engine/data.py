"""From a dataset and a bucketer to batches: in order, in worker processes, resumable at any batch.

The stream of batches is a pure function of (recipe, epoch, position), so neither workers nor prefetching have a state
to save: a run resumes by starting the stream at a position.
"""

import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from attrs import evolve, frozen
from torch import Tensor
from torch.utils.data import DataLoader

from vidgen.engine.features import Features, FeatureStore
from vidgen.errors import RunError, UserError, VidgenError
from vidgen.interfaces import Bucketer, Dataset, Request, Sample, Size3
from vidgen.rng import address, numpy_generator

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


@frozen(kw_only=True)
class Batch:
    """size: video (T, H, W) of each sample. rows: of the dataset. following: where the stream goes on after this.

    video: (B', 3, T, H, W) uint8 of the samples whose features are not known, in order; None when all are.
    features: of the others, by place in the batch. keys: of all samples, where features are kept.
    """

    video: Tensor | None
    size: Size3
    texts: list[str]
    fps: Tensor
    rows: tuple[int, ...]
    epoch: int
    following: Position
    features: Mapping[int, Features] = {}
    keys: tuple[int, ...] = ()

    def pin_memory(self) -> "Batch":
        """The same in page-locked memory, from where a GPU can fetch it while it computes; the DataLoader asks."""
        video = None if self.video is None else self.video.pin_memory()
        return evolve(self, video=video, fps=self.fps.pin_memory())

    def sizes(self) -> dict[str, Tensor]:
        """`height`, `width`, `num_frames`, `fps`, `ar`, each (B,) float32."""
        return size_numbers(len(self.texts), self.size[0], self.size[1:], self.fps)


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


class Lookup:
    """Which entry of a feature store answers an ask. epochs: windows kept of each clip. needed: an ask without entry is
    refused."""

    def __init__(self, dataset: Dataset, store: FeatureStore, *, epochs: int, needed: bool) -> None:
        self.dataset, self.store, self.epochs, self._needed = dataset, store, epochs, needed
        self._identities: dict[int, str] = {}

    def key(self, ask: Ask) -> int:
        """Made of all that the entry depends on besides its producer."""
        request, epoch = ask.request, ask.position.epoch % self.epochs
        if request.row not in self._identities:
            self._identities[request.row] = self.dataset.identity(request.row)
        identity = self._identities[request.row]
        return address(0, "features", identity, request.row, epoch, request.num_frames, *request.size)

    def find(self, key: int, row: int) -> Features | None:
        """Raises: UserError, when there is none and one is needed; RunError, when it cannot be read."""
        if key in self.store:
            return self.store.read(key)
        if self._needed:
            raise UserError(
                f"features.cache: row {row} is not in {self.store.folder}, or its media or caption changed since. Run "
                "the same recipe with job=encode again, or set features.mode=write-through."
            )
        return None


class Reader:
    """Answers asks; what the workers run. lookup: where features are kept."""

    def __init__(self, dataset: Dataset, seed: int, lookup: Lookup | None) -> None:
        self._dataset, self._seed, self._lookup = dataset, seed, lookup

    def __getitem__(self, ask: Ask) -> "Answer":
        request, lookup, key = ask.request, self._lookup, 0
        try:
            if lookup is not None:
                key = lookup.key(ask)
                features = lookup.find(key, request.row)
                if features is not None:
                    return Answer(ask, key, features)
            epoch = ask.position.epoch % lookup.epochs if lookup else ask.position.epoch
            rng = numpy_generator(self._seed, "sample", epoch, request.row)
            return Answer(ask, key, self._dataset.get(request.row, request.num_frames, request.size, rng))
        except VidgenError as error:
            return Answer(ask, key, Failure(error))


@frozen
class Answer:
    """What an ask came to. key: of its features, 0 where none are kept."""

    ask: Ask
    key: int
    found: Sample | Features | Failure


def make_loader(
    reader: Reader, stream: Iterable[list[Ask]], num_workers: int, pin: bool
) -> "DataLoader[Batch | Failure]":
    """Batches of `stream`; `pin` when they go to a GPU."""
    return DataLoader(
        reader,  # type: ignore[arg-type]  # asks are its indices
        batch_sampler=stream,  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=num_workers,
        pin_memory=pin,
        worker_init_fn=_leave_signals_to_the_main_process if num_workers else None,
        generator=torch.Generator(),  # its own, so that starting workers draws nothing from the global one
    )


def collate(answers: Sequence[Answer]) -> Batch | Failure:
    """Samples to a batch; the first failure instead, if there is one."""
    samples: list[Sample] = []
    features: dict[int, Features] = {}
    texts, rates = list[str](), list[float]()
    for place, answer in enumerate(answers):
        found = answer.found
        if isinstance(found, Failure):
            return found
        if isinstance(found, Features):
            features[place] = found
            texts.append(found.caption)
        else:
            samples.append(found)
            texts.append(found.text)
        rates.append(found.fps)
    last = answers[-1].ask
    return Batch(
        video=torch.stack([sample.video for sample in samples]) if samples else None,
        size=(last.request.num_frames, *last.request.size),
        texts=texts,
        fps=torch.tensor(rates, dtype=torch.float32),
        rows=tuple(answer.ask.request.row for answer in answers),
        epoch=last.position.epoch,
        following=last.position,
        features=features,
        keys=tuple(answer.key for answer in answers),
    )


def batches(loader: "DataLoader[Batch | Failure]") -> Iterator[Batch]:
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
