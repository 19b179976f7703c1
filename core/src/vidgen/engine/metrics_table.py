"""metrics.csv: one row of numbers per logged step; what plots and resumed runs read."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from vidgen.builtin import CsvOptions
from vidgen.errors import RunError
from vidgen.interfaces import Context, Media


def build(options: CsvOptions, context: Context) -> "MetricsTable":
    """Open the table in the run's folder, less what a killed run logged after the step it resumes from."""
    assert context.outputs is not None, "a tracker belongs to a run"
    return MetricsTable(context.outputs / options.name, context.step)


class MetricsTable:
    """Appends rows as they come; columns are fixed by the first row, numbers keep all their digits."""

    def __init__(self, path: Path, last_step: int) -> None:
        self.path = path
        self._columns: list[str] = []
        if path.exists():
            self._keep_until(last_step)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `interfaces.Tracker`."""
        row = {"step": step, **metrics}
        if not self._columns:
            self._columns = list(row)
            self._write([self._columns], mode="w")
        self._write([[repr(row[name]) if name in row else "" for name in self._columns]], mode="a")

    def media(self, step: int, samples: Sequence[Media]) -> None:
        """Clips are no numbers."""

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Append to scores.csv beside the table: step, name, value."""
        with (self.path.parent / "scores.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([step, name, value] for name, value in scores.items())

    def close(self) -> None:
        """Every row is on disk already."""

    def _keep_until(self, last_step: int) -> None:
        with self.path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        kept = [row for row in rows if len(row) == len(header) and row[0].isdigit() and int(row[0]) <= last_step]
        if not kept:
            self.path.unlink()
            return
        self._columns = header
        partial = self.path.with_name(f".{self.path.name}")
        with partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *kept])
        partial.replace(self.path)

    def _write(self, rows: list[list[str]], mode: str) -> None:
        try:
            with self.path.open(mode, newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror}") from error
