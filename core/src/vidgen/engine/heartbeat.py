"""Which rank holds a run up, in which step and where, when a step does not end."""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import astuple, evolve, frozen

from vidgen.launch import leave_word
from vidgen.mesh import World

LOG = logging.getLogger("vidgen")
LOOKS = 4  # at the clock, within the limit
OFTEN = 5.0  # seconds between two looks, at most
PROOF = 4  # looks from the first over the limit to the end: a rank that said nothing in the meantime is silent
WAITING = ("torch/distributed/", "vidgen/engine/agreement.py", "vidgen/engine/window.py", "vidgen/mesh.py")
"""Files in which a rank waits for others."""
IDLE = ("starting", "saving or sampling")
"""What may take any time."""
NEAR = 3  # calls around what runs, by which that is told: wrappers lie between


@frozen
class Beat:
    """What a rank does: `doing` (reading, training, or one of IDLE) in `step`, for so many seconds, at `place` of the
    program, where it `waits` for others. silent: it has not said so of late."""

    step: int
    doing: str
    seconds: float
    place: str = ""
    waits: bool = False
    silent: bool = False


class Heartbeat:
    """A thread that watches this rank's steps. Used as a context manager around the loop, by its main thread.

    limit: seconds that a rank may be at one thing; None never looks. end: called with what is wrong, from the thread.
    """

    def __init__(self, world: World, limit: float | None, end: Callable[[str], None] | None = None) -> None:
        self._world, self._limit, self._end = world, limit, end or _end
        self._now = 0, IDLE[0], time.monotonic()
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
        """This rank begins something."""
        self._now = step, doing, time.monotonic()

    def pause(self) -> None:
        """What follows may take any time: saving, sampling."""
        self.beat(self._now[0], IDLE[1])

    def _watch(self, limit: float) -> None:
        before: list[Beat] = []
        late = 0  # looks since the limit was passed
        while not self._ended.wait(min(limit / LOOKS, OFTEN)):
            late = late + 1 if self._late(limit) else 0
            if late == 1:
                before = self._all()
            if late == PROOF:
                now = zip(self._all(), before, strict=True)
                self._end(held_up([evolve(beat, silent=beat == earlier) for beat, earlier in now], limit))
                return

    def _late(self, limit: float) -> bool:
        mine = self._publish()
        return mine.doing not in IDLE and mine.seconds > limit

    def _publish(self) -> Beat:
        step, doing, since = self._now
        beat = Beat(step, doing, time.monotonic() - since, *_whereabouts())
        if self._world.store is not None:
            self._world.store.set(f"beat/{self._world.rank}", json.dumps(astuple(beat)))
        return beat

    def _all(self) -> list[Beat]:
        texts = [self._world.store.get(f"beat/{rank}") for rank in range(self._world.size)]
        return [Beat(*json.loads(text)) for text in texts]


def held_up(beats: Sequence[Beat], limit: float) -> str:
    """What to say of a step that does not end. beats: of every rank."""
    _, rank = min((_suspicion(beat, limit), rank) for rank, beat in enumerate(beats))
    beat = beats[rank]
    held, step = f"has been {beat.doing} for {beat.seconds:.0f} s", beat.step
    if beat.silent:
        held = f"was {beat.doing} when last heard of: its process is stopped, or held by a library"
        step = max(one.step for one in beats if not one.silent)
    others = "; ".join(f"rank {other} {_told(one)}" for other, one in enumerate(beats) if other != rank)
    return (
        f"step {step} has not ended for more than {limit:g} s (step_timeout): rank {rank} {held}, at {beat.place} "
        f"({others}). The last checkpoint is intact; resume=latest goes on."
    )


def _suspicion(beat: Beat, limit: float) -> tuple[bool | float, ...]:
    """The lower, the more likely it is this rank that the others wait for."""
    busy = beat.doing in IDLE or beat.seconds < limit / 2
    return (not beat.silent, busy, beat.waits, beat.step, beat.doing != "reading", -beat.seconds)


def _told(beat: Beat) -> str:
    return f"is {'waiting for others' if beat.waits else beat.doing} in step {beat.step}, at {beat.place}"


def _whereabouts() -> tuple[str, bool]:
    """What the main thread runs, and whether it waits there for other ranks."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    if frame is None:
        return "its end", False
    place = f"{frame.f_code.co_name}, {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
    waits = False
    for _ in range(NEAR):
        waits = waits or any(part in frame.f_code.co_filename for part in WAITING)
        frame = frame.f_back or frame
    return place, waits


def _end(text: str) -> None:
    LOG.error("%s", text)
    leave_word(text)
    os._exit(1)  # the main thread waits inside a library, where no exception reaches it
