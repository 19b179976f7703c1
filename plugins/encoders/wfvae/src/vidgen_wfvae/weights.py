"""Published weights into the network: released folders, and checkpoints of Open-Sora-Plan's trainer."""

from fnmatch import fnmatch
from pathlib import Path

import torch
from torch import nn
from vidgen import weights
from vidgen.weights import Converted, State
from vidgen_autoencoders.network import unwrapped

FILTERS = "*wavelet_tranform*"


def load(network: nn.Module, place: Path, device: torch.device) -> None:
    """The weights at `place`, a file or folder, into a network on the meta device.

    Raises: UserError, when there are none or they are another network's; RunError, when a file is damaged.
    """
    weights.load_into(network, place, convert=to_network, device=device)


def to_network(state: State) -> Converted:
    """Filters are never learned: those of a file, which may be rounded, are left out and keep their start values."""
    kept = {name: value for name, value in unwrapped(state).items() if not fnmatch(name, FILTERS)}
    return Converted(state=kept, fresh=(FILTERS,))
