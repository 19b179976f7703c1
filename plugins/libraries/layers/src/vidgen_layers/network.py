"""From options to a network with its weights: made without memory, loaded, and only what is lacking is drawn."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import attrs
import torch
from torch import nn
from vidgen import weights
from vidgen.interfaces import Context
from vidgen.weights import Converted, State

from vidgen_layers.initialise import draw
from vidgen_layers.options import WeightOptions

LOG = logging.getLogger("vidgen")

OWN = frozenset(field.name for field in attrs.fields(WeightOptions))
"""Options of the recipe that no published configuration sets."""

Network = TypeVar("Network", bound=nn.Module)
Options = TypeVar("Options", bound=WeightOptions)
Convert = Callable[[State, State], Converted]
"""A published state dict, and the model's own (on the meta device, for its shapes), to the model's names."""


def with_published_options(
    options: Options, context: Context, translate: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
) -> Options:
    """`options` as the `config.json` beside the weights of `from_pretrained` has them, wherever they are the defaults;
    what the recipe says otherwise stays. `from_pretrained` becomes the path it stands for, so that an id is asked for
    once. Without weights to load: unchanged.

    translate: from that file's keys to options; keys that are none are ignored, and so is one whose value is None. By
    default keys are options' names, and a configuration of diffusers, whose keys are not, counts as none.
    Raises: UserError, when the weights are not found.
    """
    if options.from_pretrained is None or not context.load_weights:
        return options
    place = weights.local_path(options.from_pretrained, hub_id=options.force_huggingface)
    config: Mapping[str, Any] = weights.read_config(place)
    config = translate(config) if translate else {} if "_class_name" in config else config
    taken = {}
    for field in attrs.fields(type(options)):
        found, given = _plain(config.get(field.name)), getattr(options, field.name)
        if found is None or found == given or field.name in OWN:
            continue
        if given == _default(field):
            taken[field.name] = found
        else:
            LOG.warning("config.json says %s: %s; the recipe's %s is taken", field.name, found, given)
    if taken:
        LOG.info("from config.json: %s", ", ".join(f"{key} {value}" for key, value in sorted(taken.items())))
    return attrs.evolve(options, **taken, from_pretrained=str(place), force_huggingface=False)


def build_network(make: Callable[[], Network], options: WeightOptions, context: Context, convert: Convert) -> Network:
    """The network that `make` makes, on the default device, with the weights of `from_pretrained` or start values.

    make: called on the meta device; the network is `initialise.Startable`. No entry is both drawn and loaded, and
    weights of the right type on the CPU stay in their file until they are used.
    Raises: UserError, when weights do not fit; RunError, when a file is damaged.
    """
    device = torch.get_default_device()
    with torch.device("meta"):
        network = make()
    if options.from_pretrained is not None and context.load_weights:
        weights.load_into(
            network,
            options.from_pretrained,
            convert=lambda state: convert(state, network.state_dict()),
            allow_partial=options.allow_partial,
            hub_id=options.force_huggingface,
            device=device,
        )
    draw(cast(Any, network), context.seed, device)  # no one type says both Module and Startable
    return network


def _default(field: Any) -> Any:
    return field.default.factory() if isinstance(field.default, attrs.Factory) else field.default  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
