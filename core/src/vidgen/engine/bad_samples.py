"""Rows that could not be read: told once each, kept in a file, left out of the next epoch, and counted."""

import json
import logging
from pathlib import Path

from vidgen.engine.batch import BadSample
from vidgen.errors import RunError, UserError

LOG = logging.getLogger("vidgen")
NAME = "bad_samples.jsonl"
COUNTED = 1000  # samples after which the share of bad ones among them says something of the whole
SHOWN = 5


class BadSamples:
    """rows: of the dataset. max_fraction: of samples that may be bad, 0 to 1."""

    def __init__(self, outputs: Path, *, rows: int, max_fraction: float) -> None:
        self._path, self._rows, self._max_fraction = outputs / NAME, rows, max_fraction
        self._epochs = _read(self._path)
        self._found: dict[int, BadSample] = {}
        self._tried = 0

    def quarantined(self, row: int, epoch: int) -> bool:
        """Whether it could not be read in this epoch or the last one, and is not to be tried again."""
        return epoch - self._epochs.get(row, epoch - 2) <= 1

    def tried(self, samples: int) -> None:
        """So many more were asked for."""
        self._tried += samples

    def add(self, sample: BadSample) -> None:
        """Write it down. Raises: RunError or UserError, when there are too many."""
        if self.quarantined(sample.row, sample.epoch):
            return
        self._epochs[sample.row] = sample.epoch
        self._found[sample.row] = sample
        LOG.warning("left out: %s", sample.error)
        record = {"row": sample.row, "epoch": sample.epoch, "reason": str(sample.error)}
        with self._path.open("a", encoding="utf-8") as file:  # one write a line: ranks may share the file
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        allowed = self._max_fraction * max(self._tried, min(self._rows, COUNTED))
        if len(self._found) > allowed:
            raise self.summary(
                f"{len(self._found):,} of {self._tried:,} samples could not be read, more than max_bad_fraction: "
                f"{self._max_fraction:g} allows"
            )

    def summary(self, reason: str) -> RunError | UserError:
        """An error that lists the first ones."""
        found = list(self._found.values())
        shown = [f"    {one.error}" for one in found[:SHOWN]]
        more = [f"    and {len(found) - SHOWN:,} more" for _ in range(len(found) > SHOWN)]
        advice = f"All are in {self._path}. Mend them or leave them out of the table, or raise max_bad_fraction."
        mistakes = all(isinstance(one.error, UserError) for one in found)
        return (UserError if mistakes else RunError)("\n".join([f"{reason}:", *shown, *more, advice]))


def _read(path: Path) -> dict[int, int]:
    """Row -> the last epoch it could not be read in; a line cut off by a kill is passed over."""
    epochs: dict[int, int] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                epochs[int(record["row"])] = max(int(record["epoch"]), epochs.get(int(record["row"]), 0))
            except (ValueError, KeyError, TypeError):
                continue
    return epochs
