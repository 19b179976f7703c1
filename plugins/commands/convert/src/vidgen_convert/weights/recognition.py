"""What weights are of: as a run's recipe says, as config.json says, or as their entries tell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from vidgen import runfolder, weights
from vidgen.errors import UserError, VidgenError
from vidgen.weights import State

from vidgen_convert.weights.families import DIFFUSERS_PATCH, FAMILIES, OPEN_SORA_PLAN, OPEN_SORA_PLAN_WIDTH, Family
from vidgen_convert.weights.shapes import options_by_shape

TYPE = "vidgen_type"
"""Key of a config.json of vidgen that names what it is of."""
MODEL, AUTOENCODER = "model", "autoencoder"


@frozen
class Told:
    """kind and type of the component, and options that are not its defaults."""

    kind: str
    type: str
    options: Mapping[str, Any]


def recognised(source: str, state: State, kind: str | None) -> Told:
    """What the weights of `source` are of. kind: its type, where that was said.

    Raises: UserError, when nothing tells.
    """
    config = weights.read_config(source) if Path(source).is_dir() or weights.is_hub_id(source) else {}
    of_run = _of_run(Path(source))
    if kind is not None:
        family = _family_of(kind, state)
        return Told(_kind_of(kind), kind, options_by_shape(state, family) if family else {})
    if of_run is not None:
        shapes = options_by_shape(state, _family_of(of_run.type, state) or FAMILIES[0])
        return Told(of_run.kind, of_run.type, {**shapes, **of_run.options})
    if isinstance(config.get(TYPE), str):
        name = config[TYPE]
        family = _family_of(name, state)
        return Told(_kind_of(name), name, options_by_shape(state, family) if family else {})
    family = _by_config(config) or _by_entries(state)
    if family is None:
        raise UserError(
            f"{source}: nothing tells what these weights are of (entries such as {', '.join(list(state)[:3])}). Say it "
            "with --model TYPE; `vidgen plugins` lists the types"
        )
    return Told(family.kind, family.type, {**_size_by_config(config), **options_by_shape(state, family)})


def _size_by_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The size of a clip as diffusers says it: a square, of one frame or of `video_length`."""
    side = config.get("sample_size")
    if "_class_name" not in config or not isinstance(side, int):
        return {}
    return {"input_size": [config.get("video_length", 1), side, side]}


def _kind_of(name: str) -> str:
    """Whether a type is a model's or an autoencoder's."""
    return next((one.kind for one in FAMILIES if name.startswith(one.type)), MODEL)


def _family_of(name: str, state: State) -> Family | None:
    """The family whose names of blocks a type has: the longest that its name begins with."""
    fitting = [one for one in (*FAMILIES, OPEN_SORA_PLAN) if name.startswith(one.type)]
    return max(fitting, key=lambda one: len(one.type), default=None)


def _of_run(path: Path) -> Told | None:
    """What a run of vidgen trained, where `path` is its folder or a checkpoint in it."""
    try:
        checkpoint = runfolder.find_checkpoint(path)
        recipe = runfolder.read_state(checkpoint)["recipe"]
    except (VidgenError, KeyError):
        return None
    trains_autoencoder = recipe.get("job") == "train-autoencoder"
    name, kind = ("vae", AUTOENCODER) if trains_autoencoder else ("model", MODEL)
    section = recipe.get(name)
    if not isinstance(section, Mapping) or "type" not in section:
        return None
    options = {key: value for key, value in section.items() if key not in ("type", "from_pretrained")}
    return Told(kind, section["type"], options)


def _by_config(config: Mapping[str, Any]) -> Family | None:
    names = (config.get("_class_name"), config.get("model_type"))
    if names[0] in ("PixArtTransformer2DModel", "Transformer2DModel"):
        return None  # of several sizes, which the entries tell
    return next((one for one in (*FAMILIES, OPEN_SORA_PLAN) if set(names) & set(one.config_classes)), None)


def _by_entries(state: State) -> Family | None:
    found = next((one for one in FAMILIES if _fits(one, state)), None)
    if found is not None and found.type == "PixArt" and DIFFUSERS_PATCH in state:
        return OPEN_SORA_PLAN if len(state[DIFFUSERS_PATCH]) == OPEN_SORA_PLAN_WIDTH else found
    return found


def _fits(family: Family, state: State) -> bool:
    return all(mark in state for mark in family.marks) and not any(one in state for one in family.lacks)
