"""Networks of diffusers from options: shape, weights, start values. Built without memory, and filled once."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
from torch import nn
from vidgen import weights
from vidgen.errors import UserError, did_you_mean
from vidgen.interfaces import Context
from vidgen.weights import Converted, State
from vidgen_layers.initialise import draw

from vidgen_autoencoders.options import NetworkOptions

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
BLOCKS = 4
STABLE_DIFFUSION: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * BLOCKS,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
}
"""Shape of the autoencoders of Stable Diffusion (all of them, with SDXL's and the encoder of the video model)."""
FULL_SHAPE: Mapping[type[Any], Mapping[str, Any]] = {
    AutoencoderKL: {**STABLE_DIFFUSION, "up_block_types": ["UpDecoderBlock2D"] * BLOCKS},
    AutoencoderKLTemporalDecoder: STABLE_DIFFUSION,
}
OF_FULL_SHAPE = ("stabilityai/sd-vae-ft-ema", "stabilityai/sd-vae-ft-mse", "stabilityai/sdxl-vae")
"""Hugging Face ids of which a dry run need not ask the network."""
WRAPPER = "module."
OLDER_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def network_of(cls: type[Any], options: NetworkOptions, place: Path | None) -> Any:
    """The network in the shape that `config.json` in the folder `place` and `options.config` say, on the default
    device, with whatever values its layers make.

    Raises: UserError, when these describe no such network.
    """
    published = weights.read_config(place) if place is not None and place.is_dir() else {}
    made_by = published.get("_class_name", cls.__name__)
    if made_by != cls.__name__:
        raise UserError(f"{place}: config.json describes {made_by}; what is read here is diffusers' {cls.__name__}")
    known = list(inspect.signature(cls.__init__).parameters)[1:]
    _check_keys(options.config, known, cls.__name__)
    described = {**{key: value for key, value in published.items() if key in known}, **options.config}
    return _made(cls, described or FULL_SHAPE[cls])


def place_of(options: NetworkOptions, context: Context) -> Path | None:
    """The folder or file of `from_pretrained` and `subfolder`; of a Hugging Face id, that folder alone is downloaded,
    in a dry run its configuration alone, where it is not known. None without.

    Raises: UserError, when there is none, with where was looked.
    """
    if options.from_pretrained is None or (not context.load_weights and options.from_pretrained in OF_FULL_SHAPE):
        return None
    return weights.local_folder(
        options.from_pretrained, options.subfolder, hub_id=options.force_huggingface, weighted=context.load_weights
    )


def load(
    network: nn.Module,
    place: Path | str | None,
    context: Context,
    device: torch.device,
    convert: Callable[[State], Converted],
) -> None:
    """The weights at `place` (or of that Hugging Face id) into a network on the meta device; nothing in a dry run.

    Raises: UserError, when there are none or they are another network's; RunError, when a file is damaged.
    """
    if place is not None and context.load_weights:
        weights.load_into(network, place, convert=convert, device=device)


def start(network: nn.Module, context: Context, device: torch.device) -> None:
    """Start values for what is still without memory. network: `vidgen_layers.initialise.Startable`."""
    draw(cast(Any, network), context.seed, device)  # no one type says both Module and Startable


def to_module(state: State, *, inside: str = "") -> Converted:
    """Published weights of a network of diffusers to the names they have as `module`.

    Accepts entries with and without `module.`, attention under its older names, and a larger checkpoint whose entries
    begin with `inside`, of which the others are dropped.
    """
    chosen, others = part_of(unwrapped(state), inside)
    plain = unwrapped(chosen)
    renamed = {current_name(name): value for name, value in plain.items()}
    return Converted(
        state={**{WRAPPER + name: value for name, value in renamed.items()}, **others},
        layout="" if renamed.keys() == plain.keys() else "an older diffusers",
        dropped=tuple(others),
    )


def part_of(state: State, prefix: str) -> tuple[State, State]:
    """The entries that begin with the prefix, without it, and the others; everything and nothing when none does."""
    chosen = {name.removeprefix(prefix): value for name, value in state.items() if prefix and name.startswith(prefix)}
    return (chosen, {n: v for n, v in state.items() if not n.startswith(prefix)}) if chosen else (state, {})


def unwrapped(state: State) -> State:
    """Without the `module.` that every entry begins with, as often as that is so."""
    while state and all(name.startswith(WRAPPER) for name in state):
        state = {name.removeprefix(WRAPPER): value for name, value in state.items()}
    return state


def current_name(name: str) -> str:
    """Attention layers' names as diffusers has written them since 0.15."""
    path, _, leaf = name.rpartition(".")
    owner, _, layer = path.rpartition(".")
    return f"{owner}.{OLDER_NAMES[layer]}.{leaf}" if layer in OLDER_NAMES and "attentions." in owner else name


def _check_keys(config: Mapping[str, Any], known: list[str], name: str) -> None:
    unknown = [key for key in config if key not in known]
    if unknown:
        hints = "; ".join(did_you_mean(unknown[0], known))
        raise UserError(f"config: diffusers' {name} knows no {', '.join(unknown)} ({hints})")


def _made(cls: type[Any], config: Mapping[str, Any]) -> Any:
    try:
        network: Any = cls(**config)
    except Exception as error:  # whatever layers raise for widths and counts that do not fit
        raise UserError(f"config: diffusers makes no {cls.__name__} of {dict(config)}: {error}") from error
    if (network.config["in_channels"], network.config["out_channels"]) != (3, 3):
        raise UserError(f"config: in_channels and out_channels of {cls.__name__} have to be 3: red, green and blue")
    return network
