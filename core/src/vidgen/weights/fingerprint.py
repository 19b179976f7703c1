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


def structure(module: nn.Module) -> str:
    """Twelve hexadecimal digits that name what a module does with its weights: classes and plain settings of all its
    parts, such as scales and numbers of groups that came from a configuration file."""
    digest = blake2b(digest_size=6)
    for name, part in module.named_modules():
        settings = {key: value for key, value in vars(part).items() if key != "training" and not key.startswith("_")}
        plain = sorted((key, repr(value)) for key, value in settings.items() if _is_plain(value))
        digest.update(f"{name} {type(part).__qualname__} {plain}".encode())
    return digest.hexdigest()


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def file_fingerprint(path: Path) -> str:
    """Twelve hexadecimal digits that name a file's length and both its ends: quick for films of any length, and another
    one for every file but one that was changed in its middle alone. Raises: OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = blake2b(str(size).encode() + file.read(END), digest_size=6)
        file.seek(max(size - END, 0))
        digest.update(file.read(END))
    return digest.hexdigest()
