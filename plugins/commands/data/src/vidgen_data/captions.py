"""Captions beside media: `clip.txt` or `clip.json` for `clip.mp4`."""

import json
from pathlib import Path
from typing import Any

KEYS = ("text", "caption", "prompt", "cap")
LONGEST = 1 << 20


class BadCaption(Exception):
    """A caption file that holds no caption; the text names it and says why."""


def caption_beside(media: Path) -> str | None:
    """The text of `.txt`, else of `.json`, of the same stem; None where there is neither.

    JSON is a text, a list of texts, of which the first counts, or an object with one of them under one of `KEYS`.
    Raises: BadCaption.
    """
    for suffix, read in ((".txt", _read_text), (".json", _read_json)):
        path = media.with_suffix(suffix)
        if not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                data = file.read(LONGEST + 1)
        except OSError as error:
            raise BadCaption(f"caption {path.name}: {error.strerror}") from None
        if len(data) > LONGEST:
            raise BadCaption(f"caption {path.name}: larger than a caption is")
        try:
            return read(data.decode("utf-8-sig")).strip() or None
        except (ValueError, RecursionError) as error:
            raise BadCaption(f"caption {path.name}: {' '.join(str(error).split())}") from None
    return None


def _read_text(data: str) -> str:
    return data


def _read_json(data: str) -> str:
    value: Any = json.loads(data)
    if isinstance(value, dict):
        value = next((value[key] for key in KEYS if key in value), None)
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, str):
        raise ValueError(f"it holds no text under any of {', '.join(KEYS)}")
    return value
