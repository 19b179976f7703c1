"""Published weights into the network: files that `vidgen.weights` reads, and Open-Sora-Plan's checkpoints."""

import logging
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from torch import Tensor, nn
from vidgen import weights
from vidgen.errors import RunError, UserError
from vidgen.weights import Converted, State
from vidgen_autoencoders.network import unwrapped

LOG = logging.getLogger("vidgen")
FILTERS = "*wavelet_tranform*"
CHECKPOINT, SAFETENSORS = ".ckpt", ".safetensors"
NESTED = ("ema_state_dict", "state_dict", "gen_model")
"""Entries of a checkpoint in which weights may lie; the averaged ones first, empty where there are none."""
NAMES_SHOWN = 5


def load(network: nn.Module, place: Path, device: torch.device) -> None:
    """The weights at `place`, a file or folder, into a network on the meta device.

    Raises: UserError, when there are none or they are another network's; RunError, when a file is damaged.
    """
    checkpoint = find_checkpoint(place)
    if checkpoint is None:
        weights.load_into(network, place, convert=to_network, device=device)
    else:
        _put(network, to_network(read_checkpoint(checkpoint)).state, checkpoint, device)


def to_network(state: State) -> Converted:
    """Filters are never learned: those of a file, which may be rounded, are left out and keep their start values."""
    kept = {name: value for name, value in unwrapped(state).items() if not fnmatch(name, FILTERS)}
    return Converted(state=kept, fresh=(FILTERS,))


def find_checkpoint(place: Path) -> Path | None:
    """A trainer's checkpoint: `place` itself, or the only one in that folder, where it has no safetensors.

    Raises: UserError, when there are several.
    """
    if place.is_file():
        return place if place.suffix == CHECKPOINT else None
    found = sorted(place.glob(f"*{CHECKPOINT}"))
    if any(place.glob(f"*{SAFETENSORS}")):
        return None
    if len(found) > 1:
        raise UserError(f"{place} holds {', '.join(one.name for one in found)}: name one of them as from_pretrained")
    return found[0] if found else None


def read_checkpoint(path: Path) -> State:
    """The autoencoder's state dict, averaged where there is an average, on the CPU.

    Raises: UserError, for a file without one, or one that holds code; RunError, for a damaged one.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except Exception as error:  # a damaged pickle raises nearly anything
        if isinstance(error, UnpicklingError) and "GLOBAL" in str(error):
            raise UserError(
                f"{path} holds more than weights: reading it would run code, so it is refused. Save its state dict as "
                f"{SAFETENSORS} with the program that made it."
            ) from error
        raise RunError(f"{path} is damaged or cut short ({type(error).__name__}). Copy it again.") from error
    for key in NESTED:
        inside = loaded.get(key) if isinstance(loaded, Mapping) else None
        loaded = inside if isinstance(inside, Mapping) and inside else loaded
    if not (isinstance(loaded, Mapping) and loaded and all(isinstance(value, Tensor) for value in loaded.values())):
        raise UserError(f"{path} holds no state dict (a mapping of names to tensors)")
    return dict(loaded)


def _put(network: nn.Module, state: State, path: Path, device: torch.device) -> None:
    """Raises: UserError, when entries differ from the network's."""
    own = {name: value for name, value in network.state_dict().items() if not fnmatch(name, FILTERS)}
    differing = sorted(own.keys() ^ state.keys()) or [name for name in own if own[name].shape != state[name].shape]
    if differing:
        more = " ..." if len(differing) > NAMES_SHOWN else ""
        raise UserError(
            f"{path} holds weights of another model than {type(network).__name__}: entries differ in name or shape "
            f"({len(differing)}): {', '.join(differing[:NAMES_SHOWN])}{more}"
        )
    fitting = {name: value.to(device, own[name].dtype) for name, value in state.items()}
    network.load_state_dict(fitting, strict=False, assign=True)
    LOG.info("weights: %d entries from %s", len(fitting), path)
