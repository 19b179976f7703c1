"""From a dataset and a bucketer to asks and answers: in order, resumable at any batch.

The stream of asks is a pure function of (recipe, epoch, position), so neither workers nor prefetching have a state to
save: a run resumes by starting the stream at a position.
"""

import os
import time
import traceback
from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from torch.utils.data import get_worker_info

from vidgen.engine.batch import Answer, Ask, BadSample, Failure, Position
from vidgen.engine.features import Features, FeatureStore
from vidgen.engine.watchdog import TooSlow, within
from vidgen.errors import RunError, UserError, VidgenError
from vidgen.interfaces import Bucketer, Dataset, Request, Sample
from vidgen.rng import address, numpy_generator


class Stream:
    """Lists of `Ask`, batch after batch and epoch after epoch.

    epochs: stop after so many in all; None never stops. rows: only the first so many of the dataset; None takes all.
    """

    def __init__(
        self,
        dataset: Dataset,
        bucketer: Bucketer,
        start: Position,
        epochs: int | None,
        rank: int = 0,
        num_ranks: int = 1,
        rows: int | None = None,
    ) -> None:
        self._table, self._bucketer = dataset.table.slice(0, rows), bucketer
        self._start, self._epochs = start, epochs
        self._rank, self._num_ranks = rank, num_ranks

    def __iter__(self) -> Iterator[list[Ask]]:
        places = self._places()
        while len(step := list(islice(places, self._num_ranks))) == self._num_ranks:
            epoch, number, plan = step[self._rank]
            last, end, _ = step[-1]
            following = Position(last, end + 1)
            yield [Ask(following, one, (one.row, *one.spares), epoch < last) for one in plan[number]]

    def _places(self) -> Iterator[tuple[int, int, Sequence[Sequence[Request]]]]:
        """Epoch, number and plan of each batch of all ranks. A step begins where the one before ended: from a position
        saved on another number of ranks, a step may hold the last batches of an epoch and the first of the next."""
        epoch, first = self._start.epoch, self._start.batch
        while self._epochs is None or epoch < self._epochs:
            plan = self._bucketer.plan(self._table, epoch, self._num_ranks)
            yield from ((epoch, number, plan) for number in range(first, len(plan)))
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

    def key(self, ask: Ask, row: int) -> int:
        """Made of all that the entry depends on besides its producer."""
        request, epoch = ask.request, ask.epoch % self.epochs
        if row not in self._identities:
            self._identities[row] = self.dataset.identity(row)
        return address(0, "features", self._identities[row], row, epoch, request.num_frames, *request.size)

    def find(self, key: int, row: int) -> Features | None:
        """Raises: NotKept, when there is none and one is needed; RunError, when it cannot be read or could not be
        made."""
        if key in self.store:
            return self.store.read(key)
        reason = self.store.unreadable.get(key)
        if reason is not None:
            raise RunError(reason)
        if self._needed:
            raise NotKept(
                f"features.cache: row {row} is not in {self.store.folder}, or its media, caption or size changed "
                "since. Run the same recipe with job=encode again, or set features.mode=write-through."
            )
        return None


class NotKept(UserError):
    """Features that a run relies on are not there: another row must not stand in for them."""


class Posts:
    """What each worker process is at, for the main process to see: shared memory, (workers, 3) float64 of process id,
    row (-1: none) and the monotonic second it was begun."""

    def __init__(self, num_workers: int) -> None:
        self._board = torch.full((num_workers, 3), -1.0, dtype=torch.float64).share_memory_()

    def write(self, row: int) -> None:
        """Says what this process begins; nothing in the main process."""
        worker = get_worker_info()
        if worker is not None:
            self._board[worker.id] = torch.tensor([os.getpid(), row, time.monotonic()], dtype=torch.float64)

    def read(self) -> list[tuple[int, int, float]]:
        """Process id, row and seconds spent on it so far, of every worker that is on one."""
        now = time.monotonic()
        return [(int(pid), int(row), now - begun) for pid, row, begun in self._board.tolist() if row >= 0]


class Reader:
    """Answers asks; what the workers run. lookup: where features are kept. limit: seconds for a sample; None: any."""

    def __init__(
        self, dataset: Dataset, seed: int, lookup: Lookup | None, *, limit: float | None = None, posts: Posts
    ) -> None:
        self._dataset, self._seed, self._lookup = dataset, seed, lookup
        self._limit, self._posts = limit, posts

    def __getitem__(self, ask: Ask) -> Answer:
        bad: list[BadSample] = []
        for row in ask.rows:
            self._posts.write(row)
            try:
                key, found = within(self._limit, lambda row=row: self._read(ask, row))  # type: ignore[misc]
                return Answer(ask=ask, row=row, key=key, found=found, bad=tuple(bad))
            except NotKept as error:
                failure = Failure(UserError(str(error)), fatal=True)
                return Answer(ask=ask, row=row, key=0, found=failure, bad=tuple(bad))
            except Exception as error:  # a mistake in a dataset's code costs a sample, not the run
                bad.append(BadSample(row, ask.epoch, self._told(row, error), self._key(ask, row)))
            finally:
                self._posts.write(-1)
        return Answer(ask=ask, row=ask.request.row, key=0, found=Failure(bad[-1].error), bad=tuple(bad))

    def _read(self, ask: Ask, row: int) -> tuple[int, Sample | Features]:
        request, lookup, key, epoch = ask.request, self._lookup, 0, ask.epoch
        if lookup is not None:
            key, epoch = lookup.key(ask, row), epoch % lookup.epochs
            features = lookup.find(key, row)
            if features is not None:
                return key, features
        rng = numpy_generator(self._seed, "sample", epoch, row)
        return key, self._dataset.get(row, request.num_frames, request.size, rng)

    def _key(self, ask: Ask, row: int) -> int:
        try:
            return 0 if self._lookup is None else self._lookup.key(ask, row)
        except VidgenError:
            return 0

    def _told(self, row: int, error: Exception) -> VidgenError:
        if isinstance(error, VidgenError):
            return error
        reason = f"it took longer than sample_timeout, {self._limit} s"
        if not isinstance(error, TooSlow):
            last = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__}: {error} (in {last.name}, {last.filename}:{last.lineno})"
        return RunError(f"row {row} (counting from 0): {reason}")
