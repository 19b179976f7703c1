"""Is what a table says of its files so? Rows with the reasons why not."""

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from attrs import define, field, frozen
from vidgen.errors import UserError

from vidgen_data.hashing import text_hashes
from vidgen_data.pool import Lost, answers
from vidgen_data.probing import Header, Task, look
from vidgen_data.source import Source, check_column
from vidgen_data.terminal import progress

FACTS = ("num_frames", "height", "width", "fps", "aspect_ratio", "resolution")
ROWS = 1 << 10
CLOSE = 0.01
GUESSED = 0.02
"""How far, relatively, numbers may be from the header's: rates and ratios; frames worked out from a length in time."""


@frozen
class Fault:
    """What is wrong with a row. kind: `no path`, `leaves root`, `missing`, `no caption`, `unreadable`, `too short` or
    `wrong metadata`."""

    row: int
    path: str
    kind: str
    reason: str


@frozen(kw_only=True)
class Wanted:
    """root: where paths start from. num_frames: the least a file must have. decode: frames to decode of each file.
    captions: whether each row is to have one."""

    root: Path
    num_frames: int | None = None
    decode: int = 0
    captions: bool = True
    workers: int | None = None
    timeout: float = 20.0


@define
class Verdict:
    """repeated: rows whose path a row before has, which is no fault. lacking: columns that the table has not, and that
    every row was to have."""

    rows: int
    repeated: int
    lacking: tuple[str, ...] = ()
    faults: list[Fault] = field(factory=list)

    def counts(self) -> Counter[str]:
        """Faults of each kind."""
        return Counter(fault.kind for fault in self.faults)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        faults = [{"row": one.row, "path": one.path, "kind": one.kind, "reason": one.reason} for one in self.faults]
        wrong = len({fault.row for fault in self.faults})
        return {
            "rows": self.rows,
            "wrong": wrong,
            "repeated": self.repeated,
            "lacking": list(self.lacking),
            "kinds": dict(self.counts()),
            "faults": faults,
        }


def validate(source: Source, wanted: Wanted) -> Verdict:
    """Look at the file of every row. Raises: UserError, when the table has no `path` or no rows."""
    check_column(source, "path")
    if not source.num_rows:
        raise UserError(f"{source.path} has no rows")
    lacking = tuple(name for name in ("text",) if wanted.captions and name not in source.schema.names)
    verdict, told = Verdict(source.num_rows, _repeated(source), lacking), dict[int, Mapping[str, Any]]()
    with progress() as bar:
        task = bar.add_task(source.path.name, total=source.num_rows)
        asked = _tasks(source, wanted, told, verdict.faults)
        for one, found in answers(look, asked, workers=wanted.workers, timeout=wanted.timeout):
            verdict.faults += _faults(one, told.pop(one.row), found, wanted)
            bar.update(task, completed=one.row + 1)
    verdict.faults.sort(key=lambda fault: fault.row)
    return verdict


def _tasks(source: Source, wanted: Wanted, told: dict[int, Mapping[str, Any]], faults: list[Fault]) -> Iterator[Task]:
    """The files to look at; what the table says of them goes to `told`, what is wrong before looking to `faults`."""
    for row, facts in _rows(source):
        path = facts["path"] or ""
        place = os.path.normpath(wanted.root / path)
        if wanted.captions and "text" in facts and _blank(facts["text"]):
            faults.append(Fault(row, path, "no caption", "its text is empty"))
        if not path:
            faults.append(Fault(row, "", "no path", "the row has no path"))
        elif not Path(place).is_relative_to(wanted.root):
            faults.append(Fault(row, path, "leaves root", f"it leads out of {wanted.root}"))
        elif not Path(place).is_file():
            faults.append(Fault(row, path, "missing", f"no such file: {place}"))
        else:
            told[row] = facts
            yield Task(place, wanted.decode, row)


def _rows(source: Source) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Row by row what a table says; a thousand rows at a time are Python objects."""
    row = 0
    for batch in source.batches([name for name in source.schema.names if name in ("path", "text", *FACTS)]):
        paths = batch.schema.get_field_index("path")
        texts = batch.set_column(paths, "path", batch.column(paths).cast(pa.string()))
        for start in range(0, batch.num_rows, ROWS):
            for facts in texts.slice(start, ROWS).to_pylist():
                yield row, facts
                row += 1


def _faults(task: Task, told: Mapping[str, Any], found: Header | str | Lost, wanted: Wanted) -> Iterator[Fault]:
    path = told["path"]
    if not isinstance(found, Header):
        yield Fault(task.row, path, "unreadable", found.reason if isinstance(found, Lost) else found)
        return
    if wanted.num_frames and 0 < found.num_frames < wanted.num_frames:
        has = "it is one picture" if found.num_frames == 1 else f"it has {found.num_frames} frames"
        yield Fault(task.row, path, "too short", f"{has}, {wanted.num_frames} are needed")
    wrong = [text for name in FACTS if (text := _contradiction(name, told.get(name), found))]
    if wrong:
        yield Fault(task.row, path, "wrong metadata", "; ".join(wrong))


def _contradiction(name: str, told: Any, found: Header) -> str:
    """`num_frames is 280 in the file, 300 in the table`; empty where both agree or one does not say."""
    true = _truth(name, found)
    if told is None or (not true and name != "fps"):
        return ""
    if not isinstance(told, int | float):
        return f"{name} is {told!r} in the table, which is no number"
    near = 0.0 if name in ("num_frames", "height", "width", "resolution") else CLOSE * true
    if name == "num_frames" and not found.counted:
        near = max(2.0, GUESSED * true)
    if name == "fps" and math.isnan(told):
        return ""
    return "" if abs(told - true) <= near else f"{name} is {true:g} in the file, {told:g} in the table"


def _truth(name: str, found: Header) -> float:
    if name == "aspect_ratio":
        return found.height / found.width
    return float(found.height * found.width) if name == "resolution" else float(getattr(found, name))


def _blank(text: Any) -> bool:
    """Whether there is no text: null, the NaN of a table that came from pandas, or nothing but spaces."""
    return text is None or text != text or (isinstance(text, str) and not text.strip())


def _repeated(source: Source) -> int:
    hashes = [text_hashes(batch.column(0).cast(pa.string()), "dedup") for batch in source.batches(["path"])]
    return source.num_rows - len(np.unique(np.concatenate(hashes)))
