"""Weights by Hugging Face id, through huggingface_hub: its cache, mirrors (HF_ENDPOINT) and offline switch
(HF_HUB_OFFLINE) hold."""

from pathlib import Path

from vidgen.errors import RunError, UserError

SAFE = ["*.json", "*.safetensors"]
PICKLED = ["*.json", "*.bin", "*.pt", "*.pth"]


def download(name: str) -> Path:
    """The folder with the configuration and the weights of `org/name` or `org/name@revision`; from the cache where
    they are there already.

    Raises: UserError, when there is no such id or it cannot be reached; RunError, when it holds no weights.
    """
    repository, _, revision = name.partition("@")
    folder = _snapshot(repository, revision or None, SAFE)
    if not any(folder.rglob("*.safetensors")):
        folder = _snapshot(repository, revision or None, PICKLED)
        if not any(path.suffix in (".bin", ".pt", ".pth") for path in folder.rglob("*")):
            raise RunError(f"{name} on Hugging Face holds no weights (.safetensors, .bin, .pt or .pth)")
    return folder


def _snapshot(repository: str, revision: str | None, patterns: list[str]) -> Path:
    from huggingface_hub import constants, snapshot_download  # slow to import, and few recipes need it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=patterns))
    except HFValidationError as error:
        raise UserError(f"{repository!r} is no path here and no Hugging Face id (org/name)") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        offline = "HF_HUB_OFFLINE is set, so only" if constants.HF_HUB_OFFLINE else "no answer, and"
        named = repr(f"{repository}@{revision}" if revision else repository)
        raise UserError(
            f"{named} is no path here, and as a Hugging Face id it cannot be had from {constants.ENDPOINT} ({offline} "
            f"the cache {constants.HF_HUB_CACHE} was looked at): "
            f"{(str(error).splitlines() or [type(error).__name__])[0]}"
        ) from error
