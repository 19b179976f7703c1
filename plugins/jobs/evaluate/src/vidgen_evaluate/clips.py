"""The clips of a folder: which there are, what they answer, and their pixels."""

from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch
from attrs import evolve, frozen
from PIL import Image
from torch import Tensor
from vidgen.engine import media
from vidgen.engine.source_clip import still_pictures, video_pictures
from vidgen.errors import RunError, UserError

STILLS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif"})


@frozen(kw_only=True)
class Clip:
    """A file. name: its path below the folder, without suffix where that is enough to tell it from others. prompt: of
    its metadata; None where there is none. problem: why it is not to be measured."""

    path: Path
    name: str
    prompt: str | None
    problem: str = ""


def clips_of(folder: Path, key: str, *, pattern: str = "*", outputs: Path | None = None) -> list[Clip]:
    """Every video and picture below `folder`, sorted, but what lies in `outputs`, and hidden ones.

    key: of the recipe, for messages. pattern: of file names. Raises: UserError, when there is none.
    """
    if not folder.is_dir():
        raise UserError(f"{key}: {folder} is no folder. Give the folder of the clips: {key}=FOLDER.")
    paths = [path for path in _media_below(folder, outputs) if fnmatch(path.name, pattern)]
    if not paths:
        kinds = ", ".join(sorted(STILLS | VIDEOS))
        named = "" if pattern == "*" else f" whose name is like {pattern}"
        raise UserError(f"{key}: no video and no picture{named} in {folder} or below it (looked for {kinds}).")
    relative = [path.relative_to(folder) for path in paths]
    stems = Counter(path.with_suffix("") for path in relative)
    names = [path.with_suffix("") if stems[path.with_suffix("")] == 1 else path for path in relative]
    return [
        Clip(path=path, name=name.as_posix(), prompt=prompt_of(path)) for path, name in zip(paths, names, strict=True)
    ]


def samples_among(clips: Sequence[Clip]) -> list[Clip]:
    """The same clips; one without a prompt, among others that have one, is no sample and is not to be measured: contact
    sheets and curves of trackers lie beside samples."""
    if not any(clip.prompt is not None for clip in clips):
        return list(clips)
    text = "left out: it has no prompt in its metadata, as other files here have"
    return [evolve(clip, problem=text if clip.prompt is None else "") for clip in clips]


def prompt_of(path: Path) -> str | None:
    """What the file's metadata say it answers."""
    try:
        about = media.provenance(path)
    except Image.DecompressionBombError:
        return None
    prompt = about.get("prompt") if isinstance(about, dict) else None
    return prompt if isinstance(prompt, str) else None


def read(path: Path, upscale: int = 1, most: int | None = None) -> Tensor:
    """Pixels of a video or picture, (3, T, H, W) uint8, upright, enlargement undone. most: read no more frames. Raises:
    RunError."""
    try:
        frames = list(islice(still_pictures(path) if path.suffix.lower() in STILLS else video_pictures(path), most))
        if not frames:
            raise RunError(f"{path} holds no frame")
        half = upscale // 2
        video = np.stack(frames)[:, half::upscale, half::upscale]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, av.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{path} cannot be read as a picture or video ({reason})") from error
    return torch.from_numpy(video.copy()).permute(3, 0, 1, 2)


def _media_below(folder: Path, outputs: Path | None) -> Iterator[Path]:
    own = outputs.resolve() if outputs else None
    for path in sorted(folder.rglob("*")):
        known = path.suffix.lower() in STILLS | VIDEOS and path.is_file()
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if known and not hidden and own not in path.resolve().parents:
            yield path
