"""A draft as YAML for people: remarks above the sections they belong to, at the end what has no counterpart."""

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import Any

import yaml
from vidgen.recipe.source import Dumper

from vidgen_convert.draft import Draft

WIDTH = 110
ORDER = (
    *("job", "seed", "outputs", "max_steps", "epochs", "batch_size", "accumulation_steps", "num_workers", "dtype"),
    *("num_frames", "image_size", "resolution", "aspect_ratio", "frame_interval", "fps", "save_fps"),
    *("dataset", "bucketer", "features", "vae", "text_encoder", "model", "scheduler", "search", "parallel"),
    *(
        "grad_checkpoint",
        "mask_ratios",
        "frame_masks",
        "dropped_captions",
        "optimizer",
        "ema",
        "log",
        "checkpoint",
        "resume",
        "trackers",
    ),
    *("prompts", "prompt_path", "prompt_template", "negative_prompt", "reference_path", "mask_strategy"),
)
"""Keys in the order of reading; others follow."""


def recipe_text(draft: Draft, origin: str) -> str:
    """The recipe. origin: what it was made from, for the first line."""
    lines = [f"# Converted from {origin}."]
    for key in _ordered(draft.data):
        lines += _remarks_on(draft, key)
        lines += _section(key, draft.data[key]).splitlines()
    return "\n".join([*lines, *_endings(draft)]) + "\n"


def _ordered(data: dict[str, Any]) -> list[str]:
    return sorted(data, key=lambda key: ORDER.index(key) if key in ORDER else len(ORDER))


def _section(key: str, value: Any) -> str:
    """One key of the recipe; small mappings and lists in one line."""
    flow = None if isinstance(value, dict | list) else False
    ordered = _type_first(value) if isinstance(value, dict) else value
    return yaml.dump(
        {key: ordered}, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=WIDTH, default_flow_style=flow
    )


def _type_first(section: dict[Any, Any]) -> dict[Any, Any]:
    first = {"type": section["type"]} if "type" in section else {}
    return {**first, **section}


def _remarks_on(draft: Draft, key: str) -> Iterator[str]:
    for path, texts in draft.notes.items():
        if path.partition(".")[0] == key and draft.get(path, draft) is not draft:
            for text in texts:
                yield from _comment(f"{path}: {text}" if "." in path else text)


def _endings(draft: Draft) -> Iterator[str]:
    yield from _listing("Without a counterpart in vidgen:", map(str, draft.lost))
    yield from _listing("Nothing has to be said here for:", map(str, draft.needless))
    if draft.empty:
        names = ", ".join(setting.key for setting in draft.empty)
        yield from ("#", *_comment(f"Set to nothing there, and so here: {names}."))


def _listing(title: str, entries: Iterable[str]) -> Iterator[str]:
    listed: Sequence[str] = list(entries)
    if listed:
        yield from ("#", f"# {title}")
        for entry in listed:
            yield from _comment(f"- {entry}", hang="  ")


def _comment(text: str, hang: str = "") -> Iterator[str]:
    plain = " ".join(text.split())
    for number, line in enumerate(wrap(plain, WIDTH, break_long_words=False, break_on_hyphens=False)):
        yield f"# {hang if number else ''}{line}"
