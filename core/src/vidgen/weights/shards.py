"""State dicts shared out over ranks, as folders of safetensors: each rank writes and reads its own part.

By torch.distributed.checkpoint in Hugging Face's storage form: headers say where in the whole tensor each piece lies,
so that any number of ranks, one too, reads what any number wrote. Unlike torch's own form it holds no pickle.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.api import CheckpointException

from vidgen.errors import RunError


def save(folder: Path, state: Mapping[str, Tensor], group: Any) -> None:
    """Write a state whose tensors are plain, and equal on all ranks, or DTensors. group: the ranks, that all call this.

    Raises: OSError, on every rank, when one could not write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        with _quiet():
            dcp.save(dict(state), storage_writer=writer, process_group=group)
    except CheckpointException as error:
        raise OSError(_first(error)) from error


def sizes(folder: Path) -> dict[str, torch.Size]:
    """Names and whole shapes of what a folder of safetensors holds. Raises: RunError, when it is damaged."""
    try:
        known: Mapping[str, Any] = _reader(folder).read_metadata().state_dict_metadata
        return {name: one.size for name, one in known.items()}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _damaged(folder, error) from error


def load(folder: Path, state: Mapping[str, Tensor], *, connected: bool) -> None:
    """Fill tensors, plain or DTensors, in place. connected: whether all ranks call this; one process may be alone.

    Raises: RunError, when the folder is damaged or lacks entries.
    """
    try:
        with _quiet():
            dcp.load(dict(state), storage_reader=_reader(folder), no_dist=not connected)
    except (CheckpointException, OSError, SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise _damaged(folder, error) from error


def read(folder: Path) -> dict[str, Tensor]:
    """Everything, whole, on the CPU. Raises: RunError, when the folder is damaged."""
    try:
        known: Mapping[str, Any] = _reader(folder).read_metadata().state_dict_metadata
        state = {name: torch.empty(one.size, dtype=one.properties.dtype, device="cpu") for name, one in known.items()}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise _damaged(folder, error) from error
    load(folder, state, connected=False)
    return state


def _reader(folder: Path) -> HuggingFaceStorageReader:
    return HuggingFaceStorageReader(str(folder))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes that one process is alone, and that an error was caught, which is told by us."""
    logger = logging.getLogger("torch.distributed.checkpoint")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def _first(error: CheckpointException) -> str:
    rank, (cause, _) = next(iter(error.failures.items()))
    return f"rank {rank}: {getattr(cause, 'strerror', None) or cause}"


def _damaged(folder: Path, error: BaseException) -> RunError:
    reason = _first(error) if isinstance(error, CheckpointException) else f"{type(error).__name__}: {error}"
    place = next((path for path in sorted(folder.glob("*.safetensors")) if not _opens(path)), folder)
    return RunError(f"{place} is damaged or cut short ({reason}). Use an earlier checkpoint.")


def _opens(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt"):
            return True
    except (OSError, SafetensorError):
        return False
