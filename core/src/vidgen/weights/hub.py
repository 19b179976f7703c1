"""Files by Hugging Face id, through huggingface_hub: its cache, mirrors (HF_ENDPOINT) and offline switch
(HF_HUB_OFFLINE) hold. Only what is needed is asked for: repositories of whole pipelines hold many networks."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NoReturn

from attrs import frozen

from vidgen.errors import RunError, UserError
from vidgen.weights.files import NAMES, SAFETENSORS_SUFFIX, SUFFIXES, TORCH_SUFFIXES

CONFIG = "config.json"


@frozen
class Choice:
    """Patterns of files, in which `*` stands for folders, too; without those that match `ignored`."""

    patterns: tuple[str, ...]
    ignored: tuple[str, ...] = ("*/*",)

    def inside(self, folder: str) -> "Choice":
        """The same in `folder/`."""
        return Choice(tuple(folder + one for one in self.patterns), tuple(folder + one for one in self.ignored))


def _named(suffixes: Sequence[str]) -> Choice:
    return Choice(tuple(f"{name}{part}{suffix}" for suffix in suffixes for name in NAMES for part in ("", "-*")))


WEIGHTS = (
    _named([SAFETENSORS_SUFFIX]),
    _named(TORCH_SUFFIXES),
    Choice(tuple(f"*{suffix}" for suffix in SUFFIXES)),
    Choice(tuple(f"*epoch*-global_step*/*{suffix}" for suffix in SUFFIXES), ("*/optimizer/*",)),
)
"""Where weights may be, tried in turn: by their usual names, as safetensors first, so that copies in other formats and
precisions stay where they are; by any other name; in checkpoints of a training."""


def download(name: str, *, subfolder: str | None = None, weighted: bool = True) -> Path:
    """The repository's folder, with the configuration and the weights of `org/name` or `org/name@revision` in it, and
    nothing of its other folders; from the cache where they are there already.

    subfolder: of the repository, where these lie; None: at its top. weighted: false asks for config.json alone, which
    need not exist.
    Raises: UserError, when there is no such id, it cannot be reached, or the cache lacks its weights and there is no
    network; RunError, when it holds no weights.
    """
    inside = f"{PurePosixPath(subfolder)}/" if subfolder else ""
    if not weighted:
        return snapshot(name, [inside + CONFIG])
    for choice in (one.inside(inside) for one in WEIGHTS):
        folder = snapshot(name, [f"{inside}*.json", *choice.patterns], choice.ignored)
        if any(_found(folder, choice)):
            return folder
    return _without_weights(name, folder, inside)


def snapshot(name: str, patterns: Sequence[str], ignored: Sequence[str] = ()) -> Path:
    """The repository's folder with its files that match a pattern and none of `ignored`. A `*` stands for folders, too.

    Raises: UserError, when there is no such id or it cannot be reached.
    """
    from huggingface_hub import constants, snapshot_download  # slow to import, and few recipes need it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        return Path(
            snapshot_download(
                repository, revision=revision or None, allow_patterns=list(patterns), ignore_patterns=list(ignored)
            )
        )
    except HFValidationError as error:
        raise UserError(f"{repository!r} is no path here and no Hugging Face id (org/name)") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        looked = "HF_HUB_OFFLINE is set, so only" if constants.HF_HUB_OFFLINE else f"{reason}; only"
        raise UserError(
            f"{name!r} is no path here, and as a Hugging Face id it cannot be had from {constants.ENDPOINT} ({looked} "
            f"the cache {constants.HF_HUB_CACHE} was looked at); looked for {', '.join(patterns)}. Give a folder with "
            "these files, or run once where the id can be reached."
        ) from error


def _found(folder: Path, choice: Choice) -> Iterator[str]:
    """Files of the choice that are here; patterns mean what they mean to the hub."""
    from huggingface_hub.utils import filter_repo_objects

    there = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return iter(filter_repo_objects(there, allow_patterns=list(choice.patterns), ignore_patterns=list(choice.ignored)))


def _without_weights(name: str, folder: Path, inside: str) -> NoReturn:
    from huggingface_hub import constants

    where = f"in its folder {inside.rstrip('/')!r}" if inside else "at its top"
    looked = f"looked for {', '.join(NAMES)} or any one file as {', '.join(SUFFIXES)}"
    if constants.HF_HUB_OFFLINE:
        raise UserError(
            f"{name} is in the cache ({folder}), but without weights {where}: {looked}. HF_HUB_OFFLINE is set, so "
            "nothing else was asked; run once where the id can be reached."
        )
    raise RunError(f"{name} on Hugging Face holds no weights {where}: {looked}. Weights in a folder need a subfolder.")
