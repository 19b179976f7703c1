"""Work that may hang, with a limit."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TooSlow(Exception):
    """Work was not done within its limit."""


def within(limit: float | None, work: Callable[[], T]) -> T:
    """What `work` returns or raises. limit: seconds; None: any.

    Work that takes longer is left to itself in its thread, since nothing can end a thread inside a library's loop; it
    does not keep the process from ending. Raises: TooSlow, at the limit.
    """
    if limit is None:
        return work()
    outcomes: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcomes.put((work(), None))
        except BaseException as error:
            outcomes.put((None, error))

    threading.Thread(target=run, daemon=True, name="vidgen-sample").start()
    try:
        result, error = outcomes.get(timeout=limit)
    except queue.Empty:
        raise TooSlow from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # without an error there is one
