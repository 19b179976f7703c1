"""metrics.csv: one row of numbers per logged step; what plots and resumed runs read."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

from vidgen.builtin import CsvOptions
from vidgen.errors import RunError
from vidgen.interfaces import Context, Media
from vidgen.runfolder import write_whole


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
            self._append(self._columns)
        self._append([repr(row[name]) if name in row else "" for name in self._columns])

    def media(self, step: int, samples: Sequence[Media]) -> None:
        """Clips are no numbers."""

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Note them in scores.csv beside the table: step, name, value; of one step and name the newest."""
        path = self.path.with_name("scores.csv")
        rows = {(int(row[0]), row[1]): row[2] for row in _rows(path)[1:]}
        rows |= {(step, name): repr(value) for name, value in scores.items()}
        _replace(path, [["step", "name", "value"], *([str(at), name, value] for (at, name), value in rows.items())])

    def close(self) -> None:
        """Every row is on disk already."""

    def _keep_until(self, last_step: int) -> None:
        header, *rows = _rows(self.path) or [[]]
        kept = [row for row in rows if len(row) == len(header) and row[0].isdigit() and int(row[0]) <= last_step]
        if not kept:
            self.path.unlink()
            return
        self._columns = header
        _replace(self.path, [header, *kept])

    def _append(self, row: list[str]) -> None:
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerow(row)
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror}") from error


def _rows(path: Path) -> list[list[str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _replace(path: Path, rows: list[list[str]]) -> None:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_whole(path, text.getvalue())
