"""What surrounds any job: its folder and log, then trackers, progress and signals; undone in order when it ends."""

import logging
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType

import pluggy
from attrs import evolve
from filelock import FileLock, Timeout
from rich.console import Console

from vidgen import hookspecs
from vidgen.component import Selection, hookimpl
from vidgen.engine.progress import Progress, line_handler, warning_handler
from vidgen.errors import UserError
from vidgen.interfaces import Context, Media, RunInfo, Tracker
from vidgen.mesh import World
from vidgen.runfolder import write_whole

LOG = logging.getLogger("vidgen")


class Session:
    """A job's surroundings, as a context manager.

    `stopped` turns true after SIGTERM or Ctrl-C: the job finishes its step, saves and returns. A second Ctrl-C
    interrupts at once.
    """

    def __init__(
        self,
        info: RunInfo,
        trackers: Sequence[Selection],
        context: Context,
        console: Console,
        world: World | None = None,
    ) -> None:
        """world: of several ranks only the main one has trackers and tells plugins; None: there is one."""
        self.info, self.stopped = info, ""
        self._context, self._registry = context, context.components
        is_main = world is None or world.is_main
        self._selections = trackers if is_main else []
        self._observed = self._registry.hooks if is_main else _unheard()
        self.hooks = self._observed.hook
        self.progress = Progress(info, console)
        self._trackers: list[Tracker] = []
        self._stack = ExitStack()

    def __enter__(self) -> "Session":
        with ExitStack() as stack:
            stack.enter_context(self._signals())
            stack.enter_context(self.progress)
            for selection in self._selections:
                tracker = self._registry.build(selection, evolve(self._context, step=self.info.first_step))
                stack.callback(tracker.close)
                self._trackers.append(tracker)
            for observer in (self.progress, TrackerObserver(self._trackers)):
                self._observed.register(observer)
                stack.callback(self._observed.unregister, observer)
            self.hooks.vidgen_run_started(run=self.info)
            stack.callback(self.hooks.vidgen_run_finished, run=self.info)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Tell trackers and the log what metrics say."""
        for tracker in self._trackers:
            tracker.scores(step, scores)
        LOG.info("scores: %s", ", ".join(f"{name} {value:.4g}" for name, value in scores.items()))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(number: int, _: FrameType | None) -> None:
            if self.stopped and number == signal.SIGINT:
                raise KeyboardInterrupt
            if self.stopped:  # whoever stops all processes of a job tells a rank twice: itself, and by its launcher
                return
            self.stopped = signal.Signals(number).name
            LOG.warning("%s: finishing this step, then saving", self.stopped)

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _unheard() -> pluggy.PluginManager:
    """The hooks of a rank of which no plugin is told."""
    hooks = pluggy.PluginManager("vidgen")
    hooks.add_hookspecs(hookspecs)
    return hooks


class TrackerObserver:
    """Passes a run's hooks on to its trackers."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers

    @hookimpl
    def vidgen_step_done(self, step: int, metrics: Mapping[str, float]) -> None:
        """Numbers of one logged step."""
        for tracker in self._trackers:
            tracker.log(step, metrics)

    @hookimpl
    def vidgen_samples_written(self, step: int, samples: Sequence[Media]) -> None:
        """Clips on disk."""
        for tracker in self._trackers:
            tracker.media(step, samples)


@contextmanager
def owned_folder(outputs: Path, world: World | None = None) -> Iterator[Path]:
    """The run's folder, made if need be and held against a second run, by the main rank for all. Raises: UserError."""
    if world is not None and not world.is_main:
        world.barrier()
        yield outputs
        return
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        lock = FileLock(outputs / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"outputs: another run is writing to {outputs}. Wait for it, or choose another folder."
        ) from error
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise UserError(f"outputs: {outputs} cannot be written ({reason}). Choose another folder.") from error
    try:
        if world is not None:
            world.barrier()
        yield outputs
    finally:
        lock.release()


@contextmanager
def logging_to(outputs: Path, world: World | None = None) -> Iterator[Console]:
    """Send vidgen's log to the terminal and to `log.txt`, from set-up to the end; yields the terminal. Ranks other than
    the main one write to `log-rank{N}.txt` and show their warnings alone."""
    rank = 0 if world is None else world.rank
    console = Console(stderr=True, quiet=rank > 0)
    to_file = logging.FileHandler(outputs / (f"log-rank{rank}.txt" if rank else "log.txt"), encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handlers = (to_file, warning_handler(rank) if rank else line_handler(console))
    for handler in handlers:
        LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    to_file.handle(LOG.makeRecord("vidgen", logging.INFO, "", 0, "command: %s", (" ".join(sys.argv),), None))
    try:
        yield console
        LOG.info("done: %s", outputs)
    except BaseException as error:
        LOG.error("ended by %s: %s", type(error).__name__, error)
        raise
    finally:
        for handler in handlers:
            LOG.removeHandler(handler)
        to_file.close()


def write_recipe(path: Path, text: str) -> None:
    """Keep the resolved recipe in the run's folder, replacing an earlier one as a whole. Raises: RunError."""
    write_whole(path, text)
