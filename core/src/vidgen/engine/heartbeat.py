"""Which rank holds a run up, and in which step, when a step does not end."""

import logging
import os
import threading
import time
from collections.abc import Callable

from attrs import frozen

from vidgen.launch import leave_word
from vidgen.mesh import World

LOG = logging.getLogger("vidgen")
LOOKS = 4  # at the clock, within the limit
OFTEN = 5.0  # seconds between two looks, at most


@frozen
class Beat:
    """What a rank does: `doing` (reading, training) in `step`, for so many seconds."""

    step: int
    doing: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.step} {self.doing} {self.seconds:.1f}"

    @classmethod
    def of(cls, text: str) -> "Beat":
        """What `str` gave."""
        step, doing, seconds = text.split()
        return cls(int(step), doing, float(seconds))


class Heartbeat:
    """A thread that watches this rank's steps. Used as a context manager around the loop.

    limit: seconds that a rank may be at one thing; None never looks. end: called with what is wrong, from the thread.
    """

    def __init__(self, world: World, limit: float | None, end: Callable[[str], None] | None = None) -> None:
        self._world, self._limit, self._end = world, limit, end or _end
        self._now: tuple[int, str, float] | None = None
        self._ended = threading.Event()

    def __enter__(self) -> "Heartbeat":
        self._publish()
        self._world.barrier()
        if self._limit is not None and self._world.size > 1:
            threading.Thread(target=self._watch, args=(self._limit,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def beat(self, step: int, doing: str) -> None:
        """This rank begins something: one word."""
        self._now = step, doing, time.monotonic()

    def pause(self) -> None:
        """What follows may take any time: saving, sampling."""
        self._now = None

    def _watch(self, limit: float) -> None:
        while not self._ended.wait(min(limit / LOOKS, OFTEN)):
            mine = self._publish()
            if mine is not None and mine.seconds > limit:
                self._end(held_up([self._of(rank) for rank in range(self._world.size)], limit))
                return

    def _publish(self) -> Beat | None:
        now = self._now
        beat = None if now is None else Beat(now[0], now[1], time.monotonic() - now[2])
        if self._world.store is not None:
            self._world.store.set(f"beat/{self._world.rank}", "" if beat is None else str(beat))
        return beat

    def _of(self, rank: int) -> Beat | None:
        text = self._world.store.get(f"beat/{rank}").decode()
        return Beat.of(text) if text else None


def held_up(beats: list[Beat | None], limit: float) -> str:
    """What to say of a step that does not end. beats: of every rank; None: saving or sampling."""
    known = [(beat.step, -beat.seconds, rank) for rank, beat in enumerate(beats) if beat is not None]
    reading = [one for one in known if (beat := beats[one[2]]) is not None and beat.doing == "reading"]
    step = min(known)[0]
    _, _, rank = min([one for one in reading if one[0] == step] or known)
    beat = beats[rank]
    assert beat is not None
    others = [other for other in range(len(beats)) if other != rank]
    told = ", ".join(f"rank {other}: {beats[other] or 'saving or sampling'}" for other in others)
    return (
        f"step {beat.step} has not ended for more than {limit:g} s (step_timeout): rank {rank} has been {beat.doing} "
        f"for {beat.seconds:.0f} s and the others wait for it ({told}, as step, doing, seconds). The last checkpoint "
        "is intact; resume=latest goes on."
    )


def _end(text: str) -> None:
    LOG.error("%s", text)
    leave_word(text)
    os._exit(1)  # the main thread waits inside a library, where no exception reaches it
