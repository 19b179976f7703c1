"""What the page asks for, as the recipe that `vidgen-run` would need for the same clip."""

from collections.abc import Callable, Mapping
from typing import Any

from vidgen.errors import UserError

from vidgen_ui.uploads import Upload

OF_THE_CLIP = ("negative_prompt", "num_frames", "image_size", "resolution", "aspect_ratio", "seed")
OF_THE_SCHEDULER = ("num_sampling_steps", "cfg_scale")
KNOWN = ("prompt", "references", *OF_THE_CLIP, *OF_THE_SCHEDULER)
ONE_CLIP: Mapping[str, Any] = {
    **{"prompt_path": None, "num_samples": 1, "start_index": 0, "end_index": None, "batch_size": 1},
    **{"sample_name": None, "prompt_as_path": False, "trackers": [], "metrics": []},
    **{"reference_path": [], "mask_strategy": [], "conditions": [], "allow_download": False},
}
"""Keys of the recipe that ask for several clips, for other ones, or for what is not on this machine."""


def asked(plain: Mapping[str, Any], wish: Mapping[str, Any], uploaded: Callable[[int], Upload]) -> dict[str, Any]:
    """The recipe of one clip.

    plain: of the recipe that the page started from. wish: keys of `KNOWN`; a silent one is as in the recipe.
    uploaded: number -> file; raises UserError where there is none. Values are checked when the recipe is loaded.
    Raises: UserError, for a key that is unknown, an empty prompt, or a reference that is no mapping with a `file`.
    """
    unknown = sorted(set(wish) - set(KNOWN))
    if unknown:
        raise UserError(f"{unknown[0]}: no such key; known: {', '.join(KNOWN)}")
    prompt = wish.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise UserError("prompt: it is empty; write what is to be seen")
    own = {key: wish[key] for key in OF_THE_CLIP if key in wish}
    if "image_size" in own:  # a clip has one size, by one name
        own = {"resolution": None, "aspect_ratio": None, **own}
    elif "resolution" in own or "aspect_ratio" in own:
        own = {"image_size": None, **own}
    scheduler = {**plain["scheduler"], **{key: wish[key] for key in OF_THE_SCHEDULER if key in wish}}
    given = {"prompts": [prompt], "scheduler": scheduler, "conditions": _conditions(wish, uploaded)}
    return {**plain, **ONE_CLIP, **own, **given}


def _conditions(wish: Mapping[str, Any], uploaded: Callable[[int], Upload]) -> list[dict[str, Any]]:
    references = wish.get("references", [])
    if not isinstance(references, list) or not all(isinstance(one, dict) for one in references):
        raise UserError("references: expected a list of mappings such as {file: 1, at: 0}")
    return [_condition(one, uploaded) for one in references]


def _condition(reference: Mapping[str, Any], uploaded: Callable[[int], Upload]) -> dict[str, Any]:
    number = reference.get("file")
    if type(number) is not int:
        raise UserError(f"references: file: expected the number of a file that was sent before, got {number!r}")
    upload = uploaded(number)
    where = {key: value for key, value in reference.items() if key != "file"}
    return {upload.kind: str(upload.path), **where}
