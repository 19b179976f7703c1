"""Progress on the terminal: a bar where somebody watches, a line per logged step where the output goes to a file."""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from vidgen.component import hookimpl
from vidgen.interfaces import Media, RunInfo

LOG = logging.getLogger("vidgen")


class Progress:
    """Observes a run. console: the one the log goes to, so that lines and bar do not overwrite each other."""

    def __init__(self, info: RunInfo, console: Console) -> None:
        self._info, self._console = info, console
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, TextColumn("{task.fields[numbers]}"), console=self._console, transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._begun = 0.0

    def __enter__(self) -> "Progress":
        self._begun = time.monotonic()
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, name: str, done: int, total: int | None, numbers: str = "") -> None:
        """Move the bar of one activity, such as `train` or `sample`."""
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=total, numbers="")
        task = self._bar.tasks[self._bar.task_ids.index(self._tasks[name])]
        self._bar.update(task.id, completed=done, total=total, numbers=numbers or task.fields["numbers"])

    @hookimpl
    def vidgen_step_done(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the numbers of a logged step."""
        text = "  ".join(f"{name} {_short(metrics[name])}" for name in SHOWN if name in metrics)
        if self._console.is_terminal:
            self.advance("train", step, self._info.last_step or None, text)
        else:
            of = f"/{self._info.last_step}" if self._info.last_step else ""
            LOG.info("step %d%s  %s%s", step, of, text, self._left(step))

    def _left(self, step: int) -> str:
        """Time left at the pace since the run began, where its end is known."""
        if not self._info.last_step:
            return ""
        pace = (time.monotonic() - self._begun) / max(step - self._info.first_step, 1)
        return f"  eta {timedelta(seconds=round(pace * (self._info.last_step - step)))}"

    @hookimpl
    def vidgen_checkpoint_saved(self, step: int, path: Path) -> None:
        """Say where a checkpoint went."""
        LOG.info("saved %s", path)

    @hookimpl
    def vidgen_samples_written(self, step: int, samples: Sequence[Media]) -> None:
        """Say where clips went."""
        if samples:
            LOG.info("wrote %d samples to %s", len(samples), samples[0].path.parent)


def line_handler(console: Console) -> logging.Handler:
    """A handler that writes the log to the terminal; errors are left to whoever called, who prints them."""
    handler: logging.Handler = RichHandler(console=console, show_path=False, show_level=False, markup=False)
    if not console.is_terminal:
        handler = logging.StreamHandler(console.file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    handler.addFilter(lambda record: record.levelno < logging.ERROR)
    return handler


def warning_handler(rank: int) -> logging.Handler:
    """A handler that shows a rank's warnings, beside what the main rank writes."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter(f"%(asctime)s rank {rank}: %(message)s", "%H:%M:%S"))
    handler.addFilter(lambda record: record.levelno < logging.ERROR)
    return handler


SHOWN = ("loss", "samples_per_s", "tokens_per_s", "data_wait")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
