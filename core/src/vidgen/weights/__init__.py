"""Weights from files into modules: safely, without a second copy in memory, and with a readable report.

Reads safetensors, and torch files with `weights_only=True` (a pickle that needs code is refused). Nothing here can run
code from a file, and nothing asks the network unless a Hugging Face id was given.
"""

from vidgen.weights.files import State, read_state
from vidgen.weights.fingerprint import file_fingerprint, fingerprint, structure
from vidgen.weights.load import Converted, Report, load_into, load_shared, sizes
from vidgen.weights.locate import find_weights, is_hub_id, local_folder, local_path, no_hub_id, read_config

__all__ = [
    "Converted",
    "Report",
    "State",
    "file_fingerprint",
    "find_weights",
    "fingerprint",
    "is_hub_id",
    "load_into",
    "load_shared",
    "local_folder",
    "local_path",
    "no_hub_id",
    "read_config",
    "read_state",
    "sizes",
    "structure",
]
