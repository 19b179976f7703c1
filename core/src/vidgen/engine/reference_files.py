"""Where the pictures and videos lie that prompts refer to, and what shape they have."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path

from vidgen.engine.download import Limits, downloaded, is_address
from vidgen.engine.source_clip import Size2, pictures
from vidgen.errors import RunError, UserError
from vidgen.recipe.schema import SampleOptions


class ReferenceFiles:
    """Files and addresses by the names that prompts give them.

    folders: where a path is looked for, one after the other. limits: of what is downloaded; None: nothing is.
    """

    def __init__(self, *, folders: tuple[Path, ...], limits: Limits | None) -> None:
        self._folders, self._limits = folders, limits
        self.size = cache(self._size)

    @classmethod
    def of(cls, options: SampleOptions) -> "ReferenceFiles":
        """Those of a sampling: beside its prompt file, too, and downloaded where it says so."""
        folders = (options.prompt_path.parent,) if options.prompt_path else ()
        return cls(folders=folders, limits=Limits() if options.allow_download else None)

    def check(self, name: str) -> None:
        """Raises: UserError, when there is no such file, or it would have to be downloaded and must not be."""
        if not is_address(name):
            self._find(name)
        elif self._limits is None:
            raise UserError(f"reference {name} lies on another machine: set allow_download: true, or give a file")

    def opened(self, name: str) -> AbstractContextManager[Path]:
        """The file; a downloaded one goes when the context ends. Raises: UserError, RunError."""
        self.check(name)
        return downloaded(name, self._limits) if self._limits and is_address(name) else nullcontext(self._find(name))

    def _size(self, name: str) -> Size2:
        """Rows and columns in pixels, upright; kept. Raises: UserError, RunError."""
        with self.opened(name) as path:
            return upright_size(path)

    def _find(self, name: str) -> Path:
        path = Path(name).expanduser()
        places = list(dict.fromkeys([path, *(folder / path for folder in self._folders)]))
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise UserError(f"reference {name}: no such file (looked for {' and '.join(map(str, places))})")
        return found


def upright_size(path: Path) -> Size2:
    """Rows and columns of a picture or video as it is meant to be seen; of a video only the first frame is decoded.
    Raises: RunError, when it cannot be read or holds no frame."""
    first = next(pictures(path), None)
    if first is None:
        raise RunError(f"{path} holds no frame")
    return first.shape[0], first.shape[1]
