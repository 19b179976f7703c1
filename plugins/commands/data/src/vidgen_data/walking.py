"""All media below a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field, frozen

from vidgen_data.probing import is_media


@frozen
class MediaFile:
    """path: below the folder, with forward slashes. size: bytes. mtime: nanoseconds."""

    path: str
    size: int
    mtime: int


@define
class Walk:
    """Goes through a folder and all below it, by name; hidden files and folders are passed over.

    Links are followed, after what is really there, and every folder is entered once: links that lead in a circle end.
    problems: (path, reason) of what could not be entered or named.
    """

    folder: Path
    problems: list[tuple[str, str]] = field(factory=list)
    _entered: set[tuple[int, int]] = field(factory=set, init=False)

    def files(self) -> Iterator[MediaFile]:
        """Every media file once."""
        links: list[str] = [""]
        while links:
            yield from self._below(links.pop(0), links)

    def _below(self, start: str, links: list[str]) -> Iterator[MediaFile]:
        folders = [start]
        while folders:
            inner = folders.pop()
            entries = self._entries(inner)
            found = list[str]()
            for entry in entries:
                path = f"{inner}/{entry.name}" if inner else entry.name
                if entry.is_dir(follow_symlinks=False):
                    found.append(path)
                elif entry.is_symlink() and Path(entry.path).is_dir():
                    links.append(path)
                elif is_media(entry.name):
                    yield from self._file(entry, path)
            folders.extend(reversed(found))

    def _entries(self, inner: str) -> list[os.DirEntry[str]]:
        """What is in a folder, by name; nothing when it was entered before."""
        try:
            place = (self.folder / inner).stat()
            if (place.st_dev, place.st_ino) in self._entered:
                return []
            self._entered.add((place.st_dev, place.st_ino))
            with os.scandir(self.folder / inner) as entries:
                return sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)
        except OSError as error:
            self.problems.append((_printable(inner or "."), f"cannot be entered: {error.strerror}"))
            return []

    def _file(self, entry: os.DirEntry[str], path: str) -> Iterator[MediaFile]:
        if _printable(path) != path:
            self.problems.append((_printable(path), "its name is not UTF-8; rename it"))
            return
        try:
            facts = entry.stat()
        except OSError as error:
            self.problems.append((path, f"{error.strerror}"))
            return
        yield MediaFile(path, facts.st_size, facts.st_mtime_ns)


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
