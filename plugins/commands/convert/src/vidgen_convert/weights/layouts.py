"""Weights of a model in a layout, and the configuration beside them."""

from collections.abc import Mapping
from typing import Any

from attrs import fields, frozen, has
from torch import nn
from vidgen.errors import UserError
from vidgen.recipe.structure import unstructure
from vidgen.weights import State

from vidgen_convert.weights.families import OWN_NAMES
from vidgen_convert.weights.recognition import TYPE

VIDGEN, UNCHANGED = "vidgen", "unchanged"
SYNONYMS = {"safetensors": VIDGEN}
STEMS = {"diffusers": "diffusion_pytorch_model"}
"""Layout -> name of its files of weights, where that is not `model`."""
NOT_WRITTEN = ("from_pretrained", "force_huggingface", "allow_partial", "enable_flash_attn", "enable_layernorm_kernel")


@frozen
class Written:
    """What is to be written: `state`, `config` for config.json (empty: none), and the stem of the files' names."""

    state: State
    config: Mapping[str, Any]
    stem: str = "model"


def in_layout(model: nn.Module, kind: str, layout: str) -> Written:
    """kind: type of the model.

    Raises: UserError, when the model has no such layout, or that has no place for a model of this form.
    """
    if layout == VIDGEN:
        return Written(model.state_dict(), own_config(kind, model))
    own = [name for start, names in OWN_NAMES.items() if kind.startswith(start) for name in names]
    if layout in own:
        return Written(model.state_dict(), {})
    offered = getattr(model, "layouts", ())
    if layout not in offered:
        known = ", ".join(dict.fromkeys([VIDGEN, *offered, *own, UNCHANGED]))
        raise UserError(f"{kind} has no layout {layout!r}: there are {known}")
    state: State = model.state_in(layout)  # type: ignore[operator]
    config = model.config_in(layout) if hasattr(model, "config_in") else {}  # type: ignore[operator]
    return Written(state, config, STEMS.get(layout, "model"))


def own_config(kind: str, model: nn.Module) -> dict[str, Any]:
    """A config.json of vidgen: what the weights are of, and the options that are not its defaults."""
    told: dict[str, Any] = {TYPE: kind}
    options: Any = getattr(model, "options", None)
    for field in fields(type(options)) if has(type(options)) else ():
        value = getattr(options, field.name)
        default = field.default.factory() if hasattr(field.default, "factory") else field.default
        if field.name not in NOT_WRITTEN and value != default:
            told[field.name] = unstructure(value)
    return told
