"""Where a published encoder's configuration, weights and tokenizer lie: in a local folder, or on Hugging Face."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from vidgen import weights
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.weights import hub

from vidgen_text import PretrainedOptions
from vidgen_text.published import CONFIGS

TOKENIZERS = ("tokenizer.json", "spiece.model", "tokenizer.model", "vocab.json")
PARTS = ("tokenizer", "spiece", "vocab", "merges", "special_tokens", "added_tokens")
"""What the names of a tokenizer's files begin with."""
SMALL_FILES = ("*.json", "*.model", "*.txt")


@frozen(kw_only=True)
class Place:
    """encoder: folder of the encoder. config: its config.json. tokenizers: folders that may hold the tokenizer."""

    encoder: Path
    config: Mapping[str, Any]
    tokenizers: tuple[Path, ...]


def find(options: PretrainedOptions, context: Context) -> Place:
    """The folders that the options name. Where they name a Hugging Face id, the encoder and the small files of its
    repository are downloaded, which may hold much else; in a dry run its configuration alone, where it is not known.

    Raises: UserError, when there is no such folder or id, or no encoder in it.
    """
    source, inside = options.from_pretrained, options.subfolder
    if not weights.is_hub_id(source):
        return _place(Path(source).expanduser(), options)
    if not context.load_weights and source in CONFIGS:
        return Place(encoder=Path(source), config=CONFIGS[source], tokenizers=())
    if not context.load_weights:
        return _place(hub.download(source, subfolder=inside, weighted=False), options)
    place = _place(hub.snapshot(source, SMALL_FILES), options)
    hub.download(source, subfolder=inside)
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


def tokenizer_files(folder: Path) -> list[Path]:
    """The files that make a tokenizer, by name."""
    return [path for path in sorted(folder.iterdir()) if path.name.startswith(PARTS) and path.is_file()]


def _place(root: Path, options: PretrainedOptions) -> Place:
    encoder = root / options.subfolder if options.subfolder else root
    if options.tokenizer_subfolder:
        tokenizers = [root / options.tokenizer_subfolder]
    else:
        tokenizers = [encoder, encoder.parent / encoder.name.replace("text_encoder", "tokenizer"), root]
    if not encoder.is_dir():
        what = "is a file; the folder around it is wanted" if encoder.is_file() else "no such folder"
        hint = "" if root.exists() else weights.no_hub_id(options.from_pretrained)
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
