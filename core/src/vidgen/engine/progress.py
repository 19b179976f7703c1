"""Progress on the terminal: a bar where somebody watches, a line per logged step where the output goes to a file."""

import logging
from collections.abc import Mapping, Sequence
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
    """Observes a run; also the log's handler while it lasts, so that lines and bar do not overwrite each other."""

    def __init__(self, info: RunInfo) -> None:
        self._info = info
        self._console = Console(stderr=True)
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, TextColumn("{task.fields[numbers]}"), console=self._console, transient=True)
        self._handler = RichHandler(console=self._console, show_path=False, show_level=False, markup=False)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Progress":
        LOG.addHandler(self._handler)
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        LOG.removeHandler(self._handler)

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
            LOG.info("step %d%s  %s", step, of, text)

    @hookimpl
    def vidgen_checkpoint_saved(self, step: int, path: Path) -> None:
        """Say where a checkpoint went."""
        LOG.info("saved %s", path)

    @hookimpl
    def vidgen_samples_written(self, step: int, samples: Sequence[Media]) -> None:
        """Say where clips went."""
        if samples:
            LOG.info("wrote %d samples to %s", len(samples), samples[0].path.parent)


SHOWN = ("loss", "samples_per_s", "tokens_per_s", "data_wait")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
