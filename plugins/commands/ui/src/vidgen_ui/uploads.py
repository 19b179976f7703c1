"""Pictures and videos that the page sends, as files that a recipe can name."""

import tempfile
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Literal

from attrs import frozen
from vidgen.conditioning.names import safe_name
from vidgen.engine.source_clip import STILLS, read_frames
from vidgen.errors import RunError, UserError

VIDEOS = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
LARGEST = 512 * 2**20  # bytes
AT_ONCE = 2**20


@frozen(kw_only=True)
class Upload:
    """number: by which the page names it. name: as it was called where it came from. path: absolute."""

    number: int
    name: str
    kind: Literal["image", "video"]
    path: Path


class Uploads:
    """The files sent so far. outputs: a folder of this session's own is made in it when the first one comes; it stays,
    since the recipes of clips name its files."""

    def __init__(self, outputs: Path) -> None:
        self._outputs = outputs
        self._folder: Path | None = None
        self._lock = Lock()
        self._known: dict[int, Upload] = {}
        self._last = 0

    def get(self, number: int) -> Upload:
        """The file with that number. Raises: UserError."""
        if number not in self._known:
            raise UserError(f"references: there is no file {number}; choose it again")
        return self._known[number]

    def take(self, name: str, body: BufferedIOBase, length: int) -> Upload:
        """Keep `length` bytes of `body`. Raises: UserError, when it is no picture or video, or too large; RunError,
        when it cannot be read as one, or not be written."""
        suffix = PurePosixPath(name).suffix.lower()
        if suffix not in STILLS | VIDEOS:
            raise UserError(f"{name}: neither a picture ({_list(STILLS)}) nor a video ({_list(VIDEOS)})")
        if not 0 < length <= LARGEST:
            raise UserError(f"{name}: {length} bytes; it may have 1 to {LARGEST}")
        number, folder = self._place()
        path = folder / f"{number:04d}-{safe_name(PurePosixPath(name).stem)}{suffix}"
        try:
            _write(path, _pieces(body, length))
            next(read_frames(path, (8, 8), 1))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        kind: Literal["image", "video"] = "image" if suffix in STILLS else "video"
        self._known[number] = Upload(number=number, name=name, kind=kind, path=path)
        return self._known[number]

    def _place(self) -> tuple[int, Path]:
        with self._lock:
            self._last += 1
            if self._folder is None:
                try:
                    self._outputs.mkdir(parents=True, exist_ok=True)
                    self._folder = Path(tempfile.mkdtemp(prefix="references-", dir=self._outputs)).resolve()
                except OSError as error:
                    raise RunError(f"{self._outputs} cannot be written ({error.strerror})") from error
            return self._last, self._folder


def _pieces(body: BufferedIOBase, length: int) -> Iterator[bytes]:
    """Raises: RunError, when the sender stops early."""
    left = length
    while left:
        piece = body.read(min(left, AT_ONCE))
        if not piece:
            raise RunError(f"the file broke off {left} bytes before its end; choose it again")
        left -= len(piece)
        yield piece


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    try:
        with path.open("xb") as file:
            for piece in pieces:
                file.write(piece)
    except OSError as error:
        raise RunError(f"{path} could not be written ({error})") from error


def _list(suffixes: frozenset[str]) -> str:
    return " ".join(sorted(suffixes))
