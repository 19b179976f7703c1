"""LoRA (arXiv 2106.09685): small matrices beside a model's linear layers, trained instead of them.

Offers the adapter `lora`. Read whenever vidgen starts, so it holds only names and options; the adapter lives in
`vidgen_lora.adapter`, what it reads and writes in `vidgen_lora.files`.
"""

from collections.abc import Iterable
from math import inf
from typing import Literal

from attrs import frozen
from attrs.validators import and_, ge, gt, lt, min_len, optional
from vidgen import Component, hookimpl, option


@frozen(kw_only=True)
class LoraOptions:
    """Keys allowed beside `type: lora`."""

    rank: int = option(16, "Columns of the smaller matrices, 1 or more.", validator=ge(1))
    alpha: float | None = option(
        None,
        "What they add is scaled by alpha / rank; null: by 1, or as from_pretrained says.",
        validator=optional(and_(gt(0), lt(inf))),
    )
    dropout: float = option(0.0, "Share of their inputs that is dropped in training.", validator=and_(ge(0), lt(1)))
    targets: list[str] | None = option(
        None,
        "Patterns of the names of linear layers, such as `blocks.*.attn.qkv`; null: all inside attention layers.",
        validator=optional(min_len(1)),
    )
    bias: Literal["none", "lora_only", "all"] = option(
        "none", "Biases that are trained, too: none, those of the targets, or all of the model."
    )
    from_pretrained: str | None = option(
        None,
        "A run, a checkpoint, a folder of peft's form or a Hugging Face id to begin with: gives rank, targets, bias "
        "and alpha, too.",
        validator=optional(min_len(1)),
    )
    merge: bool = option(False, "Fold it into the weights before sampling, which is then as fast as without it.")


@hookimpl
def vidgen_adapters() -> Iterable[Component]:
    """List the adapters of this plugin."""
    yield Component(
        name="lora",
        summary="Low-rank matrices beside linear layers, trained instead of them (peft).",
        options=LoraOptions,
        factory="vidgen_lora.adapter:build",
    )
