"""A draft held against what is installed: options that a component does not have are told, not written."""

from collections.abc import Mapping
from typing import Any

from attrs import fields_dict
from vidgen.registry import Registry, UnknownComponent

from vidgen_convert.draft import Draft
from vidgen_convert.settings import Setting

KINDS: Mapping[str, str] = {
    "model": "model",
    "vae": "autoencoder",
    "text_encoder": "text_encoder",
    "scheduler": "scheduler",
    "dataset": "dataset",
    "bucketer": "bucketer",
}
"""Section of a recipe -> kind of component."""


def fit(draft: Draft, registry: Registry) -> None:
    """Take out of every section what its component has no option for; of components that are not installed, nothing."""
    for name, kind in KINDS.items():
        section = draft.get(name)
        if isinstance(section, dict) and isinstance(section.get("type"), str):
            _fit_section(name, section, kind, draft, registry)


def _fit_section(name: str, section: dict[str, Any], kind: str, draft: Draft, registry: Registry) -> None:
    try:
        options = fields_dict(registry.find(kind, section["type"]).options)
    except UnknownComponent:
        return
    for key in [key for key in section if key != "type" and key not in options]:
        value = section.pop(key)
        draft.lose(Setting(f"{name}.{key}", value), f"{section['type']} has no such option")
