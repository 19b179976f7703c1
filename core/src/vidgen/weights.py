"""Weights from files into modules, safely and with a readable report.

Reads safetensors, and torch files with `weights_only=True` (a pickle that needs code is refused). Nothing here can run
code from a file.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from hashlib import blake2b
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from attrs import frozen
from safetensors.torch import load_file
from torch import Tensor, nn

from vidgen import runfolder
from vidgen.errors import RunError, UserError

LOG = logging.getLogger("vidgen")

State = dict[str, Tensor]
SAFETENSORS_SUFFIX = ".safetensors"
TORCH_SUFFIXES = (".pt", ".pth", ".bin")
NAMES_SHOWN = 5
MAX_WRAPS = 4  # a file may hold itself


@frozen
class Report:
    """What a loading did: `loaded` of `expected` entries, from `path`."""

    path: Path
    loaded: int
    expected: int
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        kept = f"; {len(self.missing)} keep their initial values" if self.missing else ""
        return f"weights: {self.loaded} of {self.expected} entries from {self.path}{kept}"


def load_into(
    module: nn.Module,
    source: str | Path,
    *,
    convert: Callable[[State], State] | None = None,
    allow_missing: Sequence[str] = (),
    ema: bool = True,
) -> Report:
    """Load a file, a folder of weights, a checkpoint or a run's folder into `module`.

    convert: from a published layout to the module's own names. allow_missing: patterns (`*.attn_temp.*`) of entries
    that may keep their initial values. ema: of a checkpoint, take the averaged weights where there are any.
    Raises: UserError, when nothing is there or the weights are another model's, with the first differing keys;
    RunError, when a file is damaged.
    """
    path = find_weights(Path(source).expanduser(), ema=ema)
    state = read_state(path)
    state = convert(state) if convert else state
    missing = _check(module, state, path, allow_missing)
    module.load_state_dict(state, strict=False)
    report = Report(path, len(state), len(module.state_dict()), missing)
    LOG.info("%s", report)
    return report


def find_weights(path: Path, *, ema: bool = True) -> Path:
    """The file of weights behind a file's, folder's, checkpoint's or run's path. Raises: UserError."""
    if path.is_file():
        return path
    if not path.exists():
        raise UserError(f"no weights at {path}: no such file or folder")
    inside = [path / "model.safetensors", path / "diffusion_pytorch_model.safetensors"]
    found = next((one for one in inside if one.is_file()), None)
    if found is None:
        checkpoint = runfolder.find_checkpoint(path)
        kinds = ("ema", "model") if ema else ("model",)
        found = next((f for f in (checkpoint / kind / "model.safetensors" for kind in kinds) if f.is_file()), None)
    if found is None:
        raise UserError(f"no weights in {path}: looked for model.safetensors and for a checkpoint's model/ or ema/")
    return found


def read_state(path: Path) -> State:
    """All tensors of one file, on the CPU.

    Raises: UserError for an unknown kind of file or one that holds code, RunError for a damaged one.
    """
    if path.suffix not in (SAFETENSORS_SUFFIX, *TORCH_SUFFIXES):
        known = ", ".join((SAFETENSORS_SUFFIX, *TORCH_SUFFIXES))
        raise UserError(f"{path}: weights are read from {known}, not {path.suffix!r}")
    try:
        if path.suffix == SAFETENSORS_SUFFIX:
            return load_file(path)
        # files of torch before 1.6 are no zip archives, which alone can be mapped
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        if isinstance(error, UnpicklingError) and "GLOBAL" in str(error):
            raise UserError(
                f"{path} holds more than weights: reading it would run code, so it is refused. Save its state dict as "
                ".safetensors with the program that made it."
            ) from error
        raise RunError(
            f"{path} is damaged or cut short ({_reason(error)}). Copy it again, or use another checkpoint."
        ) from error
    return _tensors(loaded, path)


def fingerprint(module: nn.Module) -> str:
    """Twelve hexadecimal digits that name the values of all parameters and buffers."""
    digest = blake2b(digest_size=6)
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, UnpicklingError):  # torch advises here to switch the protection off
        return "no file of tensors"
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".removesuffix(": ")


def _check(module: nn.Module, state: Mapping[str, Tensor], path: Path, allow_missing: Sequence[str]) -> tuple[str, ...]:
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    refused = [name for name in missing if not any(fnmatch(name, pattern) for pattern in allow_missing)]
    unexpected = [name for name in state if name not in own]
    resized = [
        f"{name}: {tuple(state[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if refused or unexpected or resized:
        parts = [*_part("not in the file", refused), *_part("not in the model", unexpected), *_part("differ", resized)]
        raise UserError("\n".join([f"{path} holds weights of another model than {type(module).__name__}:", *parts]))
    return tuple(missing)


def _part(title: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        yield f"    {title} ({len(names)}): {', '.join(names[:NAMES_SHOWN])}{more}"


def _tensors(loaded: object, path: Path) -> State:
    """A torch file's state dict; published files often wrap it in one entry (`state_dict`, `ema`, `model`)."""
    for _ in range(MAX_WRAPS):
        if not isinstance(loaded, Mapping):
            break
        if loaded and all(isinstance(value, Tensor) for value in loaded.values()):
            return dict(loaded)
        loaded = next((loaded[key] for key in ("state_dict", "ema", "model") if key in loaded), None)
    raise UserError(f"{path} holds no state dict (a mapping of names to tensors)")
