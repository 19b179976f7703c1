"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from vidgen.errors import UserError


def check_output(path: Path | None, *, force: bool = False) -> None:
    """Raises: UserError, when something is there and is not to be replaced, or there is no folder for it."""
    if path is None:
        return
    if path.exists() and not force:
        raise UserError(f"{path} is there already, and nothing is overwritten: choose another name, or give --force")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent}: make it first, or choose another place")


def write_text(path: Path, text: str) -> None:
    """Write a file. Raises: UserError, when it cannot be written."""
    with replacing(path) as (place, _):
        place.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[tuple[Path, Path]]:
    """A place to write to, which becomes `path` when all went well, and the folder it lies in, which goes afterwards.

    Raises: UserError, when it cannot be written.
    """
    try:
        folder = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another place") from error
    try:
        place = folder / path.name
        yield place, folder
        _flush(place)
        if path.is_dir():
            rmtree(path)
        place.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}): choose another place") from error
    finally:
        rmtree(folder, ignore_errors=True)


def _flush(path: Path) -> None:
    for one in path.iterdir() if path.is_dir() else [path]:
        with one.open("rb") as file:
            os.fsync(file.fileno())
