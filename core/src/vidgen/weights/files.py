"""State dicts from files. Tensors stay in the file, mapped into memory, until they are used."""

import json
import pickle
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vidgen.errors import RunError, UserError

State = dict[str, Tensor]
SAFETENSORS_SUFFIX = ".safetensors"
TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
SUFFIXES = (SAFETENSORS_SUFFIX, *TORCH_SUFFIXES)
NAMES = ("model", "diffusion_pytorch_model", "pytorch_model")
"""What files of weights are called, without suffix."""
INDEX_SUFFIX = ".index.json"
PARTS = "shard-*.safetensors"
"""Files of a folder that several ranks wrote (`vidgen.weights.shards`)."""
WRAPPERS = ("ema", "ema_state_dict", "state_dict", "gen_model", "model")
"""Entries in which published files keep the weights; the averaged ones first."""
FRAME = f"Unsupported operand {pickle.FRAME[0]}"
"""What torch's reader says of a pickle of protocol 4 or 5, which begins with a frame."""
MAX_WRAPS = 4  # a file may hold itself
PARALLEL_PREFIX = "module."  # of models saved inside a data-parallel wrapper


def read_state(path: Path) -> State:
    """All tensors of one file, of the files that an index (`*.index.json`) names, or of a folder that several ranks
    wrote, on the CPU.

    Raises: UserError for an unknown kind of file or one that holds code, RunError for a damaged or missing one.
    """
    if path.is_dir():
        from vidgen.weights import shards  # half a second to import, and few need it

        return shards.read(path)
    if path.name.endswith(INDEX_SUFFIX):
        return _read_shards(path)
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: weights are read from {', '.join(SUFFIXES)}, not {path.suffix!r}")
    return _read_safetensors(path) if path.suffix == SAFETENSORS_SUFFIX else _read_torch(path)


def _read_safetensors(path: Path) -> State:
    try:
        with safe_open(path, framework="pt", device="cpu") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _read_torch(path: Path) -> State:
    try:
        # files of torch before 1.6 are no zip archives, which alone can be mapped; trainers store their arguments
        with torch.serialization.safe_globals([Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        if isinstance(error, UnpicklingError) and "GLOBAL" in str(error):
            raise UserError(
                f"{path} holds more than weights: reading it would run code, so it is refused. Save its state dict as "
                ".safetensors with the program that made it."
            ) from error
        if isinstance(error, UnpicklingError) and FRAME in str(error):
            raise UserError(
                f"{path} is a pickle of protocol 4 or 5, which cannot be read without running it, so it is refused. "
                "Save its state dict as .safetensors, or by a plain torch.save, with the program that made it."
            ) from error
        raise _damaged(path, error) from error
    state = _tensors(loaded, path)
    prefixed = bool(state) and all(name.startswith(PARALLEL_PREFIX) for name in state)
    return {name.removeprefix(PARALLEL_PREFIX): value for name, value in state.items()} if prefixed else state


def _read_shards(index: Path) -> State:
    """Source: the sharded checkpoints of transformers, diffusers and ColossalAI have the same index."""
    try:
        homes = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted({Path(home).name for home in homes.values()})  # a shard lies beside its index, wherever it says
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise RunError(f"{index} is damaged: no `weight_map` of entries to files ({error})") from error
    absent = [name for name in names if not (index.parent / name).is_file()]
    if absent:
        raise RunError(f"{index} names files that are not there: {', '.join(absent)}. Copy the whole folder again.")
    state = {name: value for shard in names for name, value in read_state(index.parent / shard).items()}
    lacking = sorted(set(homes) - set(state))
    if lacking:
        raise RunError(f"{index} names entries that its files lack: {', '.join(lacking[:5])}. Copy the folder again.")
    return state


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(f"{path} is damaged or cut short ({_reason(error)}). Copy it again, or use another checkpoint.")


def _reason(error: Exception) -> str:
    if isinstance(error, UnpicklingError):  # torch advises here to switch the protection off
        return "no file of tensors"
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".removesuffix(": ")


def _tensors(loaded: object, path: Path) -> State:
    """A torch file's state dict, wherever in it that is."""
    for _ in range(MAX_WRAPS):
        if not isinstance(loaded, Mapping):
            break
        if loaded and all(isinstance(value, Tensor) for value in loaded.values()):
            return dict(loaded)
        inside = (loaded.get(key) for key in WRAPPERS)
        loaded = next((one for one in inside if isinstance(one, Mapping) and one), None)  # an average may be empty
    raise UserError(f"{path} holds no state dict (a mapping of names to tensors)")
