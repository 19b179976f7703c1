"""From `--conditional_pixel_values_path` and `--mask_type` to frames that a recipe gives."""

from collections.abc import Sequence
from pathlib import Path

from vidgen.conditioning.prompt_files import read_prompts
from vidgen.errors import UserError

from vidgen_convert.draft import Draft
from vidgen_convert.opensora_plan.given_frames import WHEN_SILENT, Line, are_placed_otherwise, is_video, read_lines
from vidgen_convert.settings import Setting, Settings

FILES, KIND = "--conditional_pixel_values_path", "--mask_type"
INSTEAD = "give frames with `conditions`, or `reference_path` and `mask_strategy`: see docs/conditioning.md"
BY_NUMBER = "pictures are placed by their number alone, as in the program: one first, two first and last"
FROM_THE_START = "of a video the first half of a clip's frames is shown, from its beginning on, as in the program"
OWN_SIZE = "without --crop_for_hw the program takes each picture's proportions; here all clips have this size"


def give_frames(settings: Settings, draft: Draft) -> None:
    """Write `conditions`, or lists with an entry for each prompt where these are given different files. What cannot be
    said is told, and why. The draft has its model, its size and its prompts."""
    path, kind = settings.value(FILES), settings.value(KIND) or None
    if not path:
        _lose(settings, draft, f"there are no frames to show without {FILES}", KIND)
        return
    if settings.value("--model_type", "t2v") == "t2v":
        _lose(settings, draft, "the program shows no frames to --model_type t2v", FILES, KIND)
        return
    try:
        lines = read_lines(path, kind, settings.value("--num_frames"))
    except ValueError as error:
        _lose(settings, draft, f"{error}; {INSTEAD}", FILES, KIND)
        return
    if kind is not None and are_placed_otherwise(lines, kind):
        _lose(settings, draft, BY_NUMBER, KIND)
    if not settings.value("--crop_for_hw"):
        draft.note("image_size", OWN_SIZE)
    _write(_each_with_a_prompt(lines, draft), draft)
    if kind in (None, WHEN_SILENT) and any(line.shown and is_video(line.files[0]) for line in lines):
        draft.note("conditions" if draft.get("conditions") else "mask_strategy", FROM_THE_START)


def _write(lines: Sequence[Line], draft: Draft) -> None:
    if any(line != lines[0] for line in lines):
        draft.put("reference_path", [line.reference_path() for line in lines])
        draft.put("mask_strategy", [line.mask_strategy() for line in lines])
    elif lines[0].shown:
        draft.put("conditions", lines[0].conditions())
    else:
        draft.remark(f"no frames are shown, as {FILES} and {KIND} say")


def _each_with_a_prompt(lines: Sequence[Line], draft: Draft) -> Sequence[Line]:
    """The lines that the program comes to: it stops with the last prompt, or the last line."""
    prompts = _count_prompts(draft)
    if prompts is None or prompts == len(lines):
        return lines
    if prompts > len(lines):
        draft.put("end_index", len(lines), f"the program stops with the last line of {FILES}")
    else:
        draft.remark(f"the last {len(lines) - prompts} lines of {FILES} have no prompts")
    return lines[:prompts]


def _count_prompts(draft: Draft) -> int | None:
    """None, where their file cannot be read here."""
    if draft.get("prompts"):
        return len(draft.get("prompts"))
    try:
        return len(read_prompts(Path(draft.get("prompt_path", ""))))
    except UserError:
        return None


def _lose(settings: Settings, draft: Draft, why: str, *keys: str) -> None:
    for key in keys:
        if settings.value(key):
            draft.lose(Setting(key, settings.value(key), settings.place(key)), why)
