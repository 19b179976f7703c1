"""What a scan has found so far, in a SQLite file beside its result: an interrupted scan goes on from it.

A file counts as known while its path, size and time of change are those of when its header was read.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from vidgen_data.probing import Header
from vidgen_data.walking import MediaFile

LAYOUT = """
create table if not exists folder (name text);
create table if not exists media (
    path text primary key, size integer, mtime integer,
    num_frames integer, height integer, width integer, fps real, codec text, reason text
) without rowid;
create table if not exists present (path text primary key, size integer, mtime integer) without rowid;
create table if not exists captions (path text primary key, text text) without rowid;
"""
PAGE = 1000
UNKNOWN = """
select present.path, present.size, present.mtime from present left join media
    on media.path = present.path and media.size = present.size and media.mtime = present.mtime
where media.path is null"""
RESULTS = """
select path, media.size, num_frames, height, width, fps, codec, reason, text
from present join media using (path) left join captions using (path) where path > ? order by path limit ?"""


@frozen(kw_only=True)
class Row:
    """A file that was looked at. reason: why it cannot be read, else None. text: of the table of captions."""

    path: str
    size: int
    num_frames: int | None
    height: int | None
    width: int | None
    fps: float | None
    codec: str | None
    reason: str | None
    text: str | None


class ScanStore:
    """The SQLite file. Raises, in all methods: sqlite3.Error, when it is damaged, in use or on a full disk."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._database = sqlite3.connect(path, timeout=1.0, isolation_level=None)
        self._database.executescript(LAYOUT)
        self._start_over_unless(str(folder.resolve()))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def set_present(self, files: Iterable[MediaFile]) -> int:
        """Replace the list of files there are; how many."""
        with self._transaction():
            self._database.execute("delete from present")
            rows = ((file.path, file.size, file.mtime) for file in files)
            self._database.executemany("insert into present values (?, ?, ?)", rows)
        return int(self._one("select count(*) from present"))

    def set_captions(self, captions: Iterable[tuple[str, str]]) -> int:
        """Replace the table of captions; how many belong to a file. Of one path, the first counts."""
        with self._transaction():
            self._database.execute("delete from captions")
            self._database.executemany("insert or ignore into captions values (?, ?)", captions)
        return int(self._one("select count(*) from present join captions using (path)"))

    def count_unknown(self) -> int:
        """Files whose header is still to be read."""
        return int(self._one(f"select count(*) from ({UNKNOWN})"))

    def unknown(self) -> Iterator[MediaFile]:
        """Files whose header is still to be read, by path; others may be added meanwhile."""
        last = ""
        while rows := self._database.execute(
            f"{UNKNOWN} and present.path > ? order by 1 limit ?", (last, PAGE)
        ).fetchall():
            yield from (MediaFile(*row) for row in rows)
            last = rows[-1][0]

    def add(self, found: Iterable[tuple[MediaFile, Header | str]]) -> None:
        """Keep headers, or the reasons why there are none."""
        with self._transaction():
            self._database.executemany(
                "insert or replace into media values (?, ?, ?, ?, ?, ?, ?, ?, ?)", (_values(*one) for one in found)
            )

    def results(self) -> Iterator[Row]:
        """Every file that is there and was looked at, by path."""
        last = ""
        while rows := self._database.execute(RESULTS, (last, PAGE)).fetchall():
            names = ("path", "size", "num_frames", "height", "width", "fps", "codec", "reason", "text")
            yield from (Row(**dict(zip(names, row, strict=True))) for row in rows)
            last = rows[-1][0]

    def _start_over_unless(self, folder: str) -> None:
        if self._one("select min(name) from folder") != folder:
            for table in ("folder", "media", "present", "captions"):
                self._database.execute(f"delete from {table}")
            self._database.execute("insert into folder values (?)", (folder,))

    def _one(self, question: str) -> Any:
        return self._database.execute(question).fetchone()[0]

    def _transaction(self) -> sqlite3.Connection:
        """Commits at the end of a `with`, or takes everything back."""
        self._database.execute("begin")
        return self._database


def _values(file: MediaFile, found: Header | str) -> tuple[object, ...]:
    if isinstance(found, str):
        return (file.path, file.size, file.mtime, None, None, None, None, None, found)
    facts = (found.num_frames or None, found.height, found.width, found.fps, found.codec)
    return (file.path, file.size, file.mtime, *facts, None)
