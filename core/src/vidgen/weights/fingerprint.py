"""Names for weights and files, made of what they hold."""

from hashlib import blake2b
from pathlib import Path

import torch
from torch import nn

END = 1 << 16  # bytes of each end of a file


def fingerprint(module: nn.Module) -> str:
    """Twelve hexadecimal digits that name the values of all parameters and buffers. Where these are shared out over
    ranks, all ranks must ask, and get the same as for the whole."""
    digest = blake2b(digest_size=6)
    for name, value in module.state_dict().items():
        tensor = value.full_tensor() if hasattr(value, "full_tensor") else value  # of one entry at a time
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """Twelve hexadecimal digits that name a file's length and both its ends: quick for films of any length, and another
    one for every file but one that was changed in its middle alone. Raises: OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = blake2b(str(size).encode() + file.read(END), digest_size=6)
        file.seek(max(size - END, 0))
        digest.update(file.read(END))
    return digest.hexdigest()
