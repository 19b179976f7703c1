"""Published weights of Open-Sora-Plan 1.3: names are the models' own; what is left are options and T2V into Inpaint."""

from collections.abc import Mapping
from typing import Any

from attrs import asdict
from vidgen import UserError
from vidgen.weights import Converted, State
from vidgen_layers.network import OWN

from vidgen_opensora_plan import T2VOptions

LAYOUTS = ("diffusers",)
CLASSES = ("OpenSoraT2V_v1_3", "OpenSoraInpaint_v1_3")
SHOWN = "pos_embed_masked_hidden_states"
PATCHES = ("proj.weight", "proj.bias")


def options_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options that a `config.json` names: its keys are the options', where it is of one of the two models, or says
    not whose it is."""
    return config if config.get("_class_name", CLASSES[0]) in CLASSES else {}


def config_of(options: T2VOptions, name: str, **settled: int) -> Mapping[str, Any]:
    """The `config.json` of a released folder, with vidgen's own options left out. settled: what the recipe decided
    where options leave it open."""
    ours = {*OWN, "class_dropout_prob"}
    told = {key: value for key, value in asdict(options).items() if key not in ours}
    return {"_class_name": name, **told, **settled}


def check_layout(layout: str) -> None:
    """Raises: UserError, for one that there is not."""
    if layout not in LAYOUTS:
        raise UserError(f"weights of Open-Sora-Plan's models are written as {', '.join(LAYOUTS)}, not {layout!r}")


def to_t2v(state: State, own: State) -> Converted:
    """From an OpenSoraT2V_v1_3."""
    return Converted(state=state)


def to_inpaint(state: State, own: State) -> Converted:
    """From an OpenSoraInpaint_v1_3, or an OpenSoraT2V_v1_3: patches of what is shown are then embedded as those of the
    noise, and at first have no influence."""
    if any(name.startswith(SHOWN) for name in state) or "pos_embed.proj.weight" not in state:
        return Converted(state=state)
    names = {f"{SHOWN}.0.{leaf}": f"pos_embed.{leaf}" for leaf in PATCHES}
    copied = {ours: state[theirs].clone() for ours, theirs in names.items() if theirs in state}
    return Converted(
        state={**state, **copied}, layout="OpenSoraT2V_v1_3", fresh=(f"{SHOWN}.1.weight", "pos_embed_mask.*")
    )
