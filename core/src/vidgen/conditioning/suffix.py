"""What a prompt may carry behind its text: `A calm lake.{"reference_path": "a.png", "mask_strategy": "0"}`."""

import json
import re
from typing import Any, Literal

from vidgen.conditioning.caret import pointed
from vidgen.errors import UserError, did_you_mean

Form = Literal["v1.2", "v1.1"]
KEYS = ("reference_path", "mask_strategy")
OPENING = {"v1.2": re.compile(r"\{"), "v1.1": re.compile(r"[{\[]")}


def split_suffix(prompt: str, form: Form = "v1.2") -> tuple[str, Any]:
    """The text in front, as it is, and the JSON behind it; {} where there is none.

    form: v1.2 takes a mapping of `reference_path` and `mask_strategy` to texts (or null); v1.1 anything in { } or [ ].

    Raises: UserError, pointing at the character that is wrong.
    """
    places = [found.start() for found in OPENING[form].finditer(prompt)]
    if not places:
        return prompt, {}
    if len(places) > 1:
        raise _wrong("one opening bracket begins the JSON behind a text; here is another one", prompt, places[1])
    text, written = prompt[: places[0]], prompt[places[0] :]
    try:
        suffix = json.loads(written)
    except json.JSONDecodeError as error:
        raise _wrong(f"this is no JSON: {error.msg}", prompt, places[0] + error.pos) from None
    except (RecursionError, ValueError):
        raise _wrong("this JSON cannot be read", prompt, places[0]) from None
    if form == "v1.2":
        _check(suffix, prompt, places[0])
    return text, suffix


def _check(suffix: dict[str, Any], prompt: str, start: int) -> None:
    for key, value in suffix.items():
        at = max(start, prompt.find(json.dumps(key, ensure_ascii=False), start))
        if key not in KEYS:
            hint = next(iter(did_you_mean(key, KEYS)))
            raise _wrong(f"there is no key {key!r}; {hint}", prompt, at)
        if not (value is None or isinstance(value, str)):
            raise _wrong(f"{key} must be a text, not {json.dumps(value)}", prompt, at)


def _wrong(what: str, prompt: str, at: int) -> UserError:
    return UserError(
        f"prompt: {what}\n{pointed(prompt, at)}\n"
        '    accepted: TEXT{"reference_path": "a.png;b.mp4", "mask_strategy": "0;0,1,0,-1,1"}, '
        "either key alone, no other brackets of this kind in the prompt"
    )
