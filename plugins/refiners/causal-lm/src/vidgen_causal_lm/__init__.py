"""Prompts rewritten by a language model that runs on this machine.

Offers the prompt refiner `causal-lm`. Read whenever vidgen starts, so it holds only names and options; the refiner
lives in `vidgen_causal_lm.refiner`.
"""

from collections.abc import Iterable
from math import inf
from typing import Any, Literal

from attrs import frozen
from attrs.validators import and_, ge, lt, min_len
from vidgen import Component, hookimpl, option

PLACE = "{prompt}"
SYSTEM = "You are a caption refiner."
TEMPLATE = (
    'Rewrite this sentence as one longer description of a video: "{prompt}". Say what the subject is, what it does and '
    "where; where it suits, also how the camera moves, the light and the mood. Keep all that the sentence says, write "
    "fluently, and answer with the description alone."
)


def _with_place(_: Any, attribute: Any, value: str) -> None:
    if PLACE not in value:
        raise ValueError(f"'{attribute.name}' must say with {PLACE} where the prompt goes: {value!r}")


@frozen(kw_only=True)
class CausalLmOptions:
    """Keys allowed beside `type: causal-lm`."""

    from_pretrained: str = option(
        doc="Folder with config.json, weights (safetensors) and tokenizer, or a Hugging Face id (org/name).",
        validator=min_len(1),
    )
    system: str = option(SYSTEM, "What the model is told it is; left out where empty.")
    template: str = option(TEMPLATE, "What it is asked, with {prompt} where the prompt goes.", validator=_with_place)
    max_new_tokens: int = option(512, "Tokens of an answer at most, 1 or more.", validator=ge(1))
    temperature: float = option(
        0.0,
        "0 takes the likeliest token each time; above, tokens are drawn, at an address of seed and prompt.",
        validator=and_(ge(0), lt(inf)),
    )
    strip_quotes: bool = option(True, "Take quotation marks off that stand around the whole answer.")
    strip_beginnings: list[str] = option(
        ["Refined prompt:", "Refined caption:", "Description:"],
        "Beginnings that are taken off an answer, whatever their capitals.",
    )
    dtype: Literal["fp32", "bf16", "fp16"] = option("bf16", "Of weights and arithmetic.")
    device: Literal["auto", "cpu"] = option("auto", "auto: the GPU of the process where there is one.")


@hookimpl
def vidgen_prompt_refiners() -> Iterable[Component]:
    """List the prompt refiners of this plugin."""
    yield Component(
        name="causal-lm",
        summary="A language model of transformers on this machine, asked to expand each prompt.",
        options=CausalLmOptions,
        factory="vidgen_causal_lm.refiner:build",
    )
