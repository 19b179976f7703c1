"""From a folder to a table: walk, read the headers that are not known yet, pair with captions, write."""

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
from attrs import define, field, frozen
from vidgen.errors import RunError, UserError

from vidgen_data.captions import BadCaption, caption_beside
from vidgen_data.output import check_output, written
from vidgen_data.pool import Lost, answers
from vidgen_data.probing import IMAGES, VIDEOS, Header, Task, look
from vidgen_data.scan_store import Row, ScanStore
from vidgen_data.source import check_column, open_source
from vidgen_data.terminal import progress
from vidgen_data.walking import MediaFile, Walk

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("id", pa.string()),
        ("text", pa.string()),
        ("num_frames", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("aspect_ratio", pa.float64()),
        ("fps", pa.float64()),
        ("resolution", pa.int64()),
        ("size", pa.int64()),
        ("codec", pa.string()),
    ]
)
REJECTED = pa.schema([("path", pa.string()), ("reason", pa.string())])
ROWS = 1 << 12
SAVE_EVERY = 1.0
"""Seconds; what an interruption costs at most."""


@frozen(kw_only=True)
class Scan:
    """folder: what to go through. output: the table. captions: a table with path and text. keep: leave what is known
    for a later scan."""

    folder: Path
    output: Path
    captions: Path | None
    workers: int | None
    timeout: float
    force: bool
    keep: bool

    @property
    def side_file(self) -> Path:
        """What is known so far."""
        return self.output.with_name(f"{self.output.name}.scan")

    @property
    def rejected(self) -> Path:
        """The table of files that cannot be read."""
        return self.output.with_name(f"{self.output.stem}.rejected.csv")

    @property
    def prefix(self) -> str:
        """What paths in the table begin with: they start from the table's folder where that holds the media."""
        folder, home = self.folder.resolve(), self.output.parent.resolve()
        inner = folder.relative_to(home).as_posix() if folder.is_relative_to(home) else "."
        return "" if inner == "." else f"{inner}/"

    @property
    def root(self) -> Path | None:
        """The folder that paths in the table start from, where it is not the table's own."""
        inside = self.folder.resolve().is_relative_to(self.output.parent.resolve())
        return None if inside else self.folder


@define
class Outcome:
    """files: media found. before: of them, known from an interrupted scan. rows: written. captioned: with a text.
    problems: (path, reason). matched: files that the table of captions names; None without one."""

    files: int = 0
    before: int = 0
    rows: int = 0
    captioned: int = 0
    matched: int | None = None
    problems: list[tuple[str, str]] = field(factory=list)


def scan(job: Scan) -> Outcome:
    """Do it, or go on with it. Raises: UserError, RunError."""
    if not job.folder.is_dir():
        raise UserError(f"{job.folder}: {'no folder' if job.folder.exists() else 'no such folder'}")
    check_output(job.output, force=job.force)
    captions = _captions(job) if job.captions else None
    try:
        store = ScanStore(job.side_file, job.folder)
        try:
            outcome = _scan(job, store, captions)
        except UserError:
            job.side_file.unlink()  # nothing is in it that could be gone on from
            raise
        finally:
            store.close()
    except sqlite3.Error as error:
        raise RunError(
            f"{job.side_file}, where the scan keeps what it found: {error}. It is damaged, in use by another scan, or "
            "the disk is full. If no other scan runs, delete it and start again."
        ) from error
    if not job.keep:
        job.side_file.unlink()
    return outcome


def _scan(job: Scan, store: ScanStore, captions: Iterable[tuple[str, str]] | None) -> Outcome:
    outcome, walk = Outcome(), Walk(job.folder)
    outcome.files = store.set_present(walk.files())
    outcome.problems += walk.problems
    if not outcome.files:
        kinds = " ".join(VIDEOS + IMAGES)
        raise UserError(f"{job.folder} holds no videos or images, nor does any folder below it. Looked for: {kinds}")
    outcome.matched = None if captions is None else store.set_captions(captions)
    unknown = store.count_unknown()
    outcome.before = outcome.files - unknown
    _probe(job, store, unknown)
    _write(job, store, outcome)
    return outcome


def _captions(job: Scan) -> Iterator[tuple[str, str]]:
    """(path below the folder, text) of a table of captions. Raises: UserError at once, when it is none."""
    assert job.captions is not None
    source, folder = open_source(job.captions), str(job.folder.absolute())
    for name in ("path", "text"):
        check_column(source, name)

    def rows() -> Iterator[tuple[str, str]]:
        for batch in source.batches(["path", "text"]):
            for path, text in zip(*(column.cast(pa.string()).to_pylist() for column in batch.columns), strict=True):
                if path and text:
                    below = os.path.relpath(path, folder) if Path(path).is_absolute() else os.path.normpath(path)
                    yield Path(below).as_posix(), text

    return rows()


def _probe(job: Scan, store: ScanStore, unknown: int) -> None:
    """Read the headers that are not known, and keep them every now and then."""
    known, saved = list[tuple[MediaFile, Header | str]](), time.monotonic()
    by_path = dict[str, MediaFile]()

    def tasks() -> Iterator[Task]:
        for file in store.unknown():
            path = str(job.folder / file.path)
            by_path[path] = file
            yield Task(path)

    with progress() as bar:
        task = bar.add_task("headers", total=unknown)
        try:
            for asked, found in answers(look, tasks(), workers=job.workers, timeout=job.timeout):
                known.append((by_path.pop(asked.path), found.reason if isinstance(found, Lost) else found))
                bar.advance(task)
                if time.monotonic() - saved > SAVE_EVERY:
                    store.add(known)
                    known, saved = [], time.monotonic()
        finally:
            store.add(known)


def _write(job: Scan, store: ScanStore, outcome: Outcome) -> None:
    """The table, and that of rejected files. Raises: RunError, when there is no row."""
    good = (row for row in store.results() if _is_good(row, outcome))
    first = next(good, None)
    if first is None:
        _write_rejected(job, outcome)
        raise RunError(f"none of the {outcome.files:,} files can be read; {job.rejected} says why")
    with progress() as bar, written(job.output, SCHEMA, force=job.force) as writer:
        task = bar.add_task(job.output.name, total=outcome.files)
        rows = (_line(row, job, outcome) for chain in ([first], good) for row in chain)
        while chunk := list(islice(rows, ROWS)):
            writer.write(pa.RecordBatch.from_pylist(chunk, schema=SCHEMA))
            outcome.rows += len(chunk)
            bar.advance(task, len(chunk))
    _write_rejected(job, outcome)


def _is_good(row: Row, outcome: Outcome) -> bool:
    if row.reason is not None:
        outcome.problems.append((row.path, row.reason))
    return row.reason is None


def _line(row: Row, job: Scan, outcome: Outcome) -> dict[str, object]:
    text = row.text
    if text is None:
        try:
            text = caption_beside(job.folder / row.path)
        except BadCaption as error:
            outcome.problems.append((row.path, f"{error}; the row has no text"))
    outcome.captioned += text is not None
    assert row.height and row.width, "a header without a size is rejected"
    return {
        "path": job.prefix + row.path,
        "id": Path(row.path).stem,
        "text": text,
        "num_frames": row.num_frames,
        "height": row.height,
        "width": row.width,
        "aspect_ratio": row.height / row.width,
        "fps": row.fps,
        "resolution": row.height * row.width,
        "size": row.size,
        "codec": row.codec,
    }


def _write_rejected(job: Scan, outcome: Outcome) -> None:
    """Replaces the one of an earlier scan; none where nothing was rejected."""
    job.rejected.unlink(missing_ok=True)
    if outcome.problems:
        rows = [{"path": path, "reason": reason} for path, reason in sorted(outcome.problems)]
        with written(job.rejected, REJECTED, force=True) as writer:
            writer.write(pa.RecordBatch.from_pylist(rows, schema=REJECTED))
