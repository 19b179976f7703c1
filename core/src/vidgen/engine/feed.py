"""A dataset's batches, read by worker processes, whatever breaks: a file, a worker, or one that never comes back."""

import logging
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import torch
from attrs import evolve
from torch.utils.data import DataLoader

from vidgen.engine.bad_samples import BadSamples
from vidgen.engine.batch import Ask, BadSample, Batch, Missed, collate
from vidgen.engine.data import Lookup, Posts, Reader
from vidgen.errors import RunError
from vidgen.interfaces import Dataset
from vidgen.recipe.schema import ReadingOptions

LOG = logging.getLogger("vidgen")
RESTARTS = 3  # of the workers, before the machine is to blame
CALM = 1000  # batches after which they are forgotten
SETTLE = 0.2  # seconds until a process that was killed is known to be dead
NEIGHBOURS = 8  # batches one of which takes the place of one of which nothing can be read
POLL = 1.0  # seconds between looks at the workers while waiting
PATIENCE = 2  # times sample_timeout that a worker may be at one sample, when its own watchdog cannot act


class Feed:
    """Batches in the order of `asks`; those after a restart are the same as without."""

    def __init__(
        self,
        dataset: Dataset,
        asks: Iterable[list[Ask]],
        options: ReadingOptions,
        *,
        seed: int,
        outputs: Path,
        device: torch.device,
        lookup: Lookup | None = None,
        stand_ins: bool = True,
        on_bad: Callable[[BadSample], None] = lambda _: None,
    ) -> None:
        """asks: gives the same again each time it is gone through. outputs: the run's folder. device: where batches go
        next. lookup: where features are kept. stand_ins: other rows of the bucket take the place of those that
        cannot be read; without, batches are smaller, and one of which nothing can be read is passed over. on_bad: told
        of each of them."""
        self._on_bad = on_bad
        self._dataset, self._asks, self._options, self._stand_ins = dataset, asks, options, stand_ins
        self._pin = device.type == "cuda"
        self._bad_samples = BadSamples(outputs, rows=dataset.table.num_rows, max_fraction=options.max_bad_fraction)
        self._seed, self._lookup = seed, lookup

    def __iter__(self) -> Iterator[Batch]:
        """Raises: RunError or UserError, when too many samples are bad, all of a batch, or workers keep dying."""
        delivered, last, restarts = 0, -CALM, 0
        while True:
            try:
                for answer in self._read(delivered):
                    delivered += 1
                    batch = self._take(answer, delivered)
                    if batch is not None:
                        yield batch
                return
            except _WorkerLost as lost:
                restarts = restarts + 1 if delivered - last < CALM else 1
                last = delivered
                self._restart(lost, restarts)

    def _take(self, answer: Batch | Missed, delivered: int) -> Batch | None:
        if isinstance(answer, Batch):
            self._bad_samples.tried(len(answer.rows))
        for sample in answer.bad:
            self._on_bad(sample)
            self._bad_samples.add(sample)
        if isinstance(answer, Missed) and answer.fatal:
            raise answer.error
        if isinstance(answer, Batch):
            return answer
        return self._another(answer, delivered) if self._stand_ins else None

    def _another(self, missed: Missed, delivered: int) -> Batch:
        """In place of a batch of which nothing can be read, of a bucket with one bad row, say: a batch that follows
        it in the order, so that ranks stay in step. Raises: RunError or UserError, when none of them can be read."""
        reader = self._reader(Posts(0))
        for asks in islice(_Candidates(self._asks, delivered, self._bad_samples, True), NEIGHBOURS):
            batch = collate([reader[evolve(ask, position=missed.following)] for ask in asks])
            if isinstance(batch, Batch):
                return batch
        raise self._bad_samples.summary("a batch of which no sample, and none that could stand in, can be read")

    def _restart(self, lost: "_WorkerLost", restarts: int) -> None:
        for row, fate in lost.suspects:
            error = RunError(f"row {row} (counting from 0): the process that read it {fate}")
            self._bad_samples.add(BadSample(row, lost.epoch, error))
        if restarts > RESTARTS:
            raise RunError(
                f"a process that reads data died {restarts} times in a row ({lost.reason}). It may have run out of "
                "memory: lower num_workers, or set it to 0 to see the cause."
            ) from lost
        LOG.warning("%s; reading goes on with new ones", lost.reason)

    def _read(self, skip: int) -> Iterator[Batch | Missed]:
        """Answers from number `skip` on. Raises: _WorkerLost."""
        handler = signal.getsignal(signal.SIGCHLD)
        posts = Posts(self._options.num_workers)  # new ones: nobody clears those of workers that died
        answers = iter(self._loader(skip, posts))
        if self._options.num_workers:
            # torch would raise wherever the main process is when a worker dies, in the middle of a step, too.
            _restore(handler)
        while True:
            try:
                answer = next(answers)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:
                self._check_workers(error, skip, posts)
                continue
            skip += 1
            yield answer

    def _reader(self, posts: Posts) -> Reader:
        return Reader(self._dataset, self._seed, self._lookup, limit=self._options.sample_timeout, posts=posts)

    def _loader(self, skip: int, posts: Posts) -> "DataLoader[Any]":
        workers = self._options.num_workers
        return DataLoader(
            self._reader(posts),  # type: ignore[arg-type]  # asks are its indices
            batch_sampler=_Candidates(self._asks, skip, self._bad_samples, self._stand_ins),  # type: ignore[arg-type]
            collate_fn=collate,
            num_workers=workers,
            timeout=POLL if workers else 0,
            pin_memory=self._pin,
            worker_init_fn=_leave_signals_to_the_main_process if workers else None,
            generator=torch.Generator(),  # its own, so that starting workers draws nothing from the global one
        )

    def _check_workers(self, error: Exception, number: int, posts: Posts) -> None:
        """After an error while waiting for batch `number`: returns when all live and are at work.

        Raises: _WorkerLost, when one died, or has been at one sample for far too long; the error, when it is another.
        """
        cut_off = isinstance(error, OSError | EOFError)  # a batch was on its way from a worker that died
        if cut_off:
            time.sleep(SETTLE)
        alive = {process.pid for process in multiprocessing.active_children()}
        limit = PATIENCE * (self._options.sample_timeout or inf)
        suspects = [
            (row, "died" if pid not in alive else f"was stuck for {seconds:.0f} s")
            for pid, row, seconds in posts.read()
            if pid not in alive or seconds > limit
        ]
        if suspects or cut_off or "exited unexpectedly" in str(error):
            reason = f"a process that reads data {suspects[0][1] if suspects else 'died'}"
            raise _WorkerLost(reason, suspects, self._epoch_of(number)) from error
        if "timed out" not in str(error):
            raise error

    def _epoch_of(self, number: int) -> int:
        return next(islice(self._asks, number, None))[0].epoch


class _WorkerLost(Exception):
    """suspects: rows, and what became of the processes that were at them."""

    def __init__(self, reason: str, suspects: list[tuple[int, str]], epoch: int) -> None:
        super().__init__(reason)
        self.reason, self.suspects, self.epoch = reason, suspects, epoch


class _Candidates:
    """Asks from number `skip` on, without the rows that are in quarantine."""

    def __init__(self, asks: Iterable[list[Ask]], skip: int, bad_samples: BadSamples, stand_ins: bool) -> None:
        self._asks, self._skip, self._bad_samples, self._stand_ins = asks, skip, bad_samples, stand_ins

    def __iter__(self) -> Iterator[list[Ask]]:
        for batch in islice(self._asks, self._skip, None):
            yield [self._narrowed(ask) for ask in batch]

    def _narrowed(self, ask: Ask) -> Ask:
        rows = ask.rows if self._stand_ins else ask.rows[:1]
        good = tuple(row for row in rows if not self._bad_samples.quarantined(row, ask.epoch))
        return evolve(ask, rows=good or rows[:1])


def _restore(handler: Any) -> None:
    """Only the main thread may; elsewhere torch has set none."""
    try:
        signal.signal(signal.SIGCHLD, handler)
    except ValueError:
        return


def _leave_signals_to_the_main_process(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
