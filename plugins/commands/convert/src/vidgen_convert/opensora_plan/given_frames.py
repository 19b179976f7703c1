"""Frames that Open-Sora-Plan's inpainting is shown in sampling: a line of files for each prompt, and a kind of mask.

As that program takes them: pictures have places by their number alone; of a video, as many frames are read as the clip
has, from the first one on, and the kind of mask says which of those are shown.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".flv", ".wmv", ".webm", ".mpeg", ".mpg", ".3gp")
WHEN_SILENT = "continuation"
"""Kind of mask for a video."""


@frozen(kw_only=True)
class Shown:
    """Frames of one file that a clip is shown. file: its place among those of the prompt. first: the first of its
    frames. at: where that comes to lie in the clip; -1 is the last frame. length: frames."""

    file: int = 0
    first: int = 0
    at: int = 0
    length: int = 1

    def condition(self, files: Sequence[str]) -> dict[str, Any]:
        """As an entry of `conditions`."""
        name = files[self.file]
        if not is_video(name):
            return {"image": name, "at": self.at}
        frames = self.first if self.length == 1 else f"{self.first}..{self.first + self.length}"
        return {"video": name, "frames": frames, "at": self.at}

    def group(self) -> str:
        """As a group of `mask_strategy`, which counts video frames for a model that is shown frames."""
        return "0" if self == Shown() else f"0,{self.file},{self.first},{self.at},{self.length}"


@frozen(kw_only=True)
class Line:
    """What one prompt is given. files: in order. shown: their frames."""

    files: tuple[str, ...]
    shown: tuple[Shown, ...]

    def conditions(self) -> list[dict[str, Any]]:
        """As `conditions`."""
        return [one.condition(self.files) for one in self.shown]

    def reference_path(self) -> str:
        """As an entry of `reference_path`."""
        return ";".join(self.files) if self.shown else ""

    def mask_strategy(self) -> str:
        """As an entry of `mask_strategy`."""
        return ";".join(one.group() for one in self.shown)


PICTURES: Sequence[tuple[str, tuple[Shown, ...]]] = (
    ("t2iv", ()),
    ("i2v", (Shown(),)),
    ("transition", (Shown(), Shown(file=1, at=-1))),
)
"""By the number of pictures: the kind of mask, and their frames."""
OF_A_VIDEO: Mapping[str, Callable[[int], tuple[Shown, ...]]] = {
    "t2iv": lambda frames: (),
    "i2v": lambda frames: (Shown(),),
    "transition": lambda frames: (Shown(), Shown(first=frames - 1, at=-1)),
    "continuation": lambda frames: (Shown(length=frames // 2),) if frames > 1 else (),
    "clear": lambda frames: (Shown(length=frames),),
}
"""Kind of mask -> frames that are shown, of a clip of so many."""


def is_video(name: str) -> bool:
    """By its ending, as the program tells."""
    return name.lower().endswith(VIDEOS)


def read_lines(path: str, kind: str | None, num_frames: int) -> list[Line]:
    """What each prompt is given. path: a text file (.txt), or the one line itself. kind: of mask; None: the program's
    own. num_frames: of a clip.

    Raises: ValueError, in words, when there is no such file, or one of its lines cannot be said otherwise.
    """
    if not path.endswith("txt"):
        return [_line(path, kind, num_frames)]
    lines: list[Line] = []
    for number, text in enumerate(_texts(path), start=1):
        try:
            lines.append(_line(text, kind, num_frames))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from None
    if not lines:
        raise ValueError(f"{path} holds no line")
    return lines


def _texts(path: str) -> list[str]:
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            return list(file)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read here ({error.strerror})") from None


def _line(text: str, kind: str | None, num_frames: int) -> Line:
    files = tuple(name.strip() for name in text.split(",")) if text.strip() else ()
    return Line(files=files, shown=_shown(files, kind or WHEN_SILENT, num_frames))


def _shown(files: Sequence[str], kind: str, num_frames: int) -> tuple[Shown, ...]:
    """Raises: ValueError, in words."""
    if not all(files):
        raise ValueError("a name is empty between commas")
    if not any(map(is_video, files)):
        if len(files) >= len(PICTURES):
            raise ValueError(f"{len(files)} pictures have no places in the program, which takes one or two")
        return PICTURES[len(files)][1]
    if len(files) > 1:
        raise ValueError("a video does not stand alone in its line")
    if kind == "random_temporal":
        raise ValueError("random_temporal draws the frames of a video that are shown, half of them, anew each time")
    if kind not in OF_A_VIDEO:
        raise ValueError(f"--mask_type {kind} is none of {', '.join(OF_A_VIDEO)}")
    return OF_A_VIDEO[kind](num_frames)


def are_placed_otherwise(lines: Sequence[Line], kind: str) -> bool:
    """Whether a line has pictures whose number says another kind than `kind`."""
    numbers = [len(line.files) for line in lines if line.files and not any(map(is_video, line.files))]
    return any(PICTURES[number][0] != kind for number in numbers)
