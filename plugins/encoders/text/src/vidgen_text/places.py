"""Where a published encoder's configuration, weights and tokenizer lie: in a local folder, or on Hugging Face."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from vidgen import weights
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.weights.locate import HUB_ID

from vidgen_text import PretrainedOptions

TOKENIZERS = ("tokenizer.json", "spiece.model", "tokenizer.model", "vocab.json")
SMALL_FILES = ("*.json", "*.model", "*.txt")
WEIGHTS = ("model.safetensors", "model-*.safetensors")
PICKLED_WEIGHTS = ("pytorch_model.bin", "pytorch_model-*.bin")


@frozen(kw_only=True)
class Place:
    """encoder: folder of the encoder. config: its config.json. tokenizers: folders that may hold the tokenizer."""

    encoder: Path
    config: Mapping[str, Any]
    tokenizers: tuple[Path, ...]


def find(options: PretrainedOptions, context: Context) -> Place:
    """The folders that the options name, downloaded where they name a Hugging Face id; of that, a dry run wants the
    configuration alone.

    Raises: UserError, when there is no such folder or id, or no encoder in it.
    """
    source, inside = options.from_pretrained, f"{options.subfolder}/" if options.subfolder else ""
    from_hub = _is_id(source)
    wanted = SMALL_FILES if context.load_weights else (f"{inside}config.json",)
    root = _download(source, wanted) if from_hub else Path(source).expanduser()
    place = _place(root, options)
    if from_hub and context.load_weights:
        _download(source, [inside + name for name in WEIGHTS])
        if not any(place.encoder.glob("*.safetensors")):
            _download(source, [inside + name for name in PICKLED_WEIGHTS])
    return place


def find_tokenizer(place: Place) -> Path:
    """The folder of the tokenizer. Raises: UserError, when there is none, naming where was looked."""
    for folder in place.tokenizers:
        if _holds_tokenizer(folder):
            return folder
    looked = " and ".join(map(str, place.tokenizers))
    raise UserError(
        f"the encoder in {place.encoder} has no tokenizer: looked for {', '.join(TOKENIZERS)} in {looked}. Copy the "
        "tokenizer's files there, or say tokenizer_subfolder."
    )


def _place(root: Path, options: PretrainedOptions) -> Place:
    encoder = root / options.subfolder if options.subfolder else root
    if options.tokenizer_subfolder:
        tokenizers = [root / options.tokenizer_subfolder]
    else:
        tokenizers = [encoder, encoder.parent / encoder.name.replace("text_encoder", "tokenizer"), root]
    if not encoder.is_dir():
        what = "is a file; the folder around it is wanted" if encoder.is_file() else "no such folder"
        hint = "" if options.subfolder else ", and no Hugging Face id (org/name)"
        raise UserError(f"no text encoder at {encoder}: {what}{hint}")
    config = weights.read_config(encoder)
    if not config:
        holds = "it holds a tokenizer alone; " if _holds_tokenizer(encoder) else ""
        raise UserError(
            f"no text encoder in {encoder}: {holds}looked for config.json. Give the folder that has it and the weights "
            "beside it, or say subfolder."
        )
    return Place(encoder=encoder, config=config, tokenizers=tuple(dict.fromkeys(tokenizers)))


def _holds_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in TOKENIZERS)


def _is_id(source: str) -> bool:
    """As in `vidgen.weights`: `outputs/t5` beside a folder `outputs` is a mistyped path, no id."""
    path = Path(source).expanduser()
    return not path.exists() and bool(HUB_ID.fullmatch(source)) and not path.parent.exists()


def _download(name: str, patterns: Sequence[str]) -> Path:
    """The folder of a Hugging Face id, with the files that match; from the cache where they are there already.

    Raises: UserError, when there is no such id or it cannot be reached.
    """
    from huggingface_hub import constants, snapshot_download  # slow to import, and a local folder does without
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(patterns)))
    except HFValidationError as error:
        raise UserError(f"{name!r} is no folder here and no Hugging Face id (org/name)") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        offline = "HF_HUB_OFFLINE is set, so only" if constants.HF_HUB_OFFLINE else "no answer, and"
        raise UserError(
            f"{name!r} is no folder here, and as a Hugging Face id it cannot be had from {constants.ENDPOINT} "
            f"({offline} the cache {constants.HF_HUB_CACHE} was looked at); looked for {', '.join(patterns)}. Give a "
            "folder with these files, or run once where the id can be reached."
        ) from error
