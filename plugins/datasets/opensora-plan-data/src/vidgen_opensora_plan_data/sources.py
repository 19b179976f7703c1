"""The list of sources: a text file with a line for each, a folder of media and the file that describes them."""

from pathlib import Path

from attrs import frozen
from vidgen.errors import UserError

EXPECTED = "expected on each line: folder of the media,annotation file (.json or .pkl)"


@frozen
class Source:
    """`annotations` describes media under the folder `root`."""

    root: Path
    annotations: Path


def read_sources(data_path: Path) -> list[Source]:
    """The sources a file lists, in order; blank lines are ignored.

    Relative paths start from the file's folder, or from the current one where nothing is there.
    Raises: UserError naming file and line, when it cannot be read, a line is another thing, or there is none.
    """
    try:
        lines = data_path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{data_path} cannot be read as a list of sources: {error}\n    {EXPECTED}") from error
    sources = [_source(data_path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not sources:
        raise UserError(f"{data_path} lists no source\n    {EXPECTED}")
    return sources


def _source(data_path: Path, number: int, line: str) -> Source:
    where = f"{data_path}:{number}"
    root, *rest = (part.strip() for part in line.split(","))
    if not root or len(rest) != 1 or not rest[0]:
        raise UserError(f"{where}: {line.strip()!r} is no source\n    {EXPECTED}")
    source = Source(_found(data_path.parent, root), _found(data_path.parent, rest[0]))
    if not source.root.is_dir():
        raise UserError(f"{where}: no such folder: {source.root}\n    {EXPECTED}")
    if not source.annotations.is_file():
        raise UserError(f"{where}: no such file: {source.annotations}\n    {EXPECTED}")
    return source


def _found(folder: Path, name: str) -> Path:
    near = folder.absolute() / name
    return near if near.exists() else Path(name).absolute()
