"""What the `config.json` of published weights says of the network."""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import attrs
from vidgen import weights
from vidgen.errors import RecipeError, UserError

from vidgen_wfvae import NetworkOptions, WFVAEOptions

LOG = logging.getLogger("vidgen")
CLASS = "WFVAEModel"
PER_CHANNEL = ("scale", "shift")


def described(options: WFVAEOptions, place: Path) -> WFVAEOptions:
    """The options, keys of the network that are at their defaults replaced by those of `config.json` in the folder
    `place`, where there is one.

    Raises: UserError, for another model's, and for values that no such network can have.
    """
    config = weights.read_config(place) if place.is_dir() else {}
    made_by = config.get("_class_name", CLASS)
    if made_by != CLASS:
        raise UserError(f"{place}: config.json describes {made_by}; what is read here is {CLASS}")
    known = attrs.fields_dict(NetworkOptions)
    foreign = [key for key in config if key not in known and not key.startswith("_")]
    if foreign:
        LOG.warning("%s: config.json has keys that mean nothing here: %s", place, ", ".join(foreign))
    defaults = type(options)()
    silent = [key for key in known if key in config and getattr(options, key) == getattr(defaults, key)]
    taken = {key: _checked(key, config[key], known[key], place) for key in silent}
    chosen = attrs.evolve(options, **_shortened(taken))
    problems = [*chosen.network_problems(), *chosen.chunk_problems()]
    if problems:
        raise RecipeError([attrs.evolve(one, place=str(place)) for one in problems])
    return chosen


def _checked(key: str, value: Any, field: "attrs.Attribute[Any]", place: Path) -> Any:
    """The value, a list as a tuple. Raises: UserError, when it is of another type or out of range."""
    value = tuple(value) if isinstance(value, list) else value
    fits = _fits(value, field.type)
    if fits and field.validator is not None:
        try:
            field.validator(None, field, value)
        except ValueError:
            fits = False
    if not fits:
        raise UserError(f"{place}: config.json: {key}: {value!r} is nothing that this network can have")
    return value


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if isinstance(kind, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_fits(one, get_args(kind)[0]) for one in value)
    return type(value) in ((int, float) if kind is float else (kind,))


def _shortened(taken: Mapping[str, Any]) -> dict[str, Any]:
    """Equal numbers for every channel as one: files may have the default's eight, whatever latent_dim is."""
    return {
        key: float(value[0]) if key in PER_CHANNEL and isinstance(value, tuple) and len(set(value)) == 1 else value
        for key, value in taken.items()
    }
