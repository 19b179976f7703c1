"""The file of weights behind what a recipe says: a file, a folder, a checkpoint, a run, a Hugging Face id."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidgen import runfolder
from vidgen.errors import RunError, UserError
from vidgen.weights import hub
from vidgen.weights.files import INDEX_SUFFIX, NAMES, PARTS, SUFFIXES

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?")


def find_weights(source: str | Path, *, ema: bool = True, hub_id: bool = False) -> Path:
    """The file, the index of a sharded one (`*.index.json`), or the folder that several ranks wrote.

    source: a file; a folder in Hugging Face's form, whole or sharded; a checkpoint of vidgen or Open-Sora
    (`epoch*-global_step*`) or a run's folder with such; a Hugging Face id, `org/name` or `org/name@revision`, when no
    folder `org` is here or `hub_id` says so. ema: of a checkpoint, take the averaged weights where there are any.
    Raises: UserError, when there are none, with where was looked.
    """
    path = local_path(source, hub_id=hub_id)
    if path.is_file():
        return path
    found = next(_inside(path), None) or next(_in_checkpoint(path, ema=ema), None)
    if found is None:
        several = ", ".join(one.name for one in _files(path))
        if several and not runfolder.NAME.fullmatch(path.name):
            raise UserError(f"{path} holds several files of weights: {several}: name one of them")
        raise UserError(
            f"no weights in {path}: looked for {', '.join(NAMES)} as {', '.join(SUFFIXES)} or sharded, and for a "
            "checkpoint's model/, ema/ or ema.pt"
        )
    return found


def read_config(source: str | Path, *, hub_id: bool = False) -> dict[str, Any]:
    """The `config.json` beside the weights of a folder or Hugging Face id, of which nothing else is downloaded; empty
    without one.

    Raises: UserError, when there is no such folder; RunError, when the file is damaged.
    """
    path = local_folder(source, hub_id=hub_id, weighted=False) / hub.CONFIG
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
    return config if isinstance(config, dict) else {}


def local_path(source: str | Path, *, hub_id: bool = False) -> Path:
    """The file or folder of what `find_weights` takes; of a Hugging Face id, the folder it was downloaded to.

    Raises: UserError, when there is none.
    """
    if hub_id or is_hub_id(source):
        return hub.download(str(source))
    return _existing(source)


def local_folder(
    source: str | Path, subfolder: str | None = None, *, hub_id: bool = False, weighted: bool = True
) -> Path:
    """`local_path`, or its `subfolder`. Of a Hugging Face id no other folder is downloaded; nor are the weights, unless
    `weighted`.

    Raises: UserError, when there is none, with the folders that are there.
    """
    if hub_id or is_hub_id(source):
        path = hub.download(str(source), subfolder=subfolder, weighted=weighted)
    else:
        path = _existing(source)
    inside = path / (subfolder or "")
    if subfolder is not None and not inside.is_dir():
        folders = ", ".join(sorted(one.name for one in path.iterdir() if one.is_dir())) if path.is_dir() else ""
        raise UserError(
            f"{source} has no folder {subfolder!r} (looked for {inside}; folders there: {folders or 'none'}). Set "
            "subfolder to where the weights lie, or leave it out."
        )
    return inside


def is_hub_id(source: str | Path) -> bool:
    """Whether this is taken for `org/name` or `org/name@revision`: nothing is at such a path, and no folder `org` here,
    beside which `outputs/run` is a mistyped path and nothing to ask the network about."""
    path, name = Path(source).expanduser(), str(source)
    is_free = not path.exists() and not path.parent.exists()
    return is_free and bool(HUB_ID.fullmatch(name)) and not name.endswith(SUFFIXES)


def no_hub_id(source: str | Path) -> str:
    """Why what is not there was not asked of the hub either; the end of a sentence that says that it is not there."""
    parent = Path(source).expanduser().parent
    if HUB_ID.fullmatch(str(source)) and parent.exists():
        return f"; taken for a path and not for a Hugging Face id, because there is a folder {parent} here"
    return ", and no Hugging Face id (org/name)"


def _existing(source: str | Path) -> Path:
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(f"no weights at {path}: no such file or folder{no_hub_id(source)}")
    return path


def _inside(folder: Path) -> Iterator[Path]:
    stems = [folder / f"{name}{suffix}" for suffix in SUFFIXES for name in NAMES]
    for stem in stems:
        yield from (path for path in (stem, stem.with_name(stem.name + INDEX_SUFFIX)) if path.is_file())
    if any(folder.glob(PARTS)):
        yield folder
    alone = _files(folder)
    if len(alone) == 1 and not runfolder.NAME.fullmatch(folder.name):
        yield alone[0]


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*")) if path.suffix in SUFFIXES and path.is_file()]


def _in_checkpoint(path: Path, *, ema: bool) -> Iterator[Path]:
    checkpoint = path if runfolder.NAME.fullmatch(path.name) else None
    if checkpoint is None:
        found = [one for one in path.glob("epoch*-global_step*") if runfolder.NAME.fullmatch(one.name)]  # Open-Sora's
        checkpoint = max(found, key=runfolder.step_of, default=None) or runfolder.latest(path)
    if checkpoint is None:
        return
    if ema:
        yield from _inside(checkpoint / "ema")
        yield from (one for one in (checkpoint / "ema.pt",) if one.is_file())
    yield from _inside(checkpoint / "model")
