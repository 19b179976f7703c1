"""A table that many worker processes use and none of them copies.

A forked worker sees its parent's memory. One that is started afresh gets a file name instead of the table, and maps
that file: all workers of a machine then share its pages.
"""

import os
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa


class SharedTable:
    """An Arrow `table` that pickles to a file name.

    A pickle is for worker processes of the same run: its file goes when this object does.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._file: Path | None = None

    def __reduce__(self) -> "tuple[Callable[[str], SharedTable], tuple[str]]":
        if self._file is None:
            self._file = self._write()
        return _mapped, (str(self._file),)

    def _write(self) -> Path:
        handle, name = tempfile.mkstemp(prefix="vidgen-table-", suffix=".arrow")
        with os.fdopen(handle, "wb") as sink, pa.ipc.new_file(sink, self.table.schema) as writer:
            writer.write_table(self.table)
        weakref.finalize(self, _remove, name, os.getpid())
        return Path(name)


def _mapped(name: str) -> SharedTable:
    with pa.memory_map(name) as file:
        return SharedTable(pa.ipc.open_file(file).read_all())


def _remove(name: str, owner: int) -> None:
    """A forked worker holds the same object and must leave the file to its parent."""
    if os.getpid() == owner:
        Path(name).unlink(missing_ok=True)
