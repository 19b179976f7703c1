"""State dicts to files and folders: whole or not at all, in pieces where they are large."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor
from vidgen.errors import UserError
from vidgen.weights import State

from vidgen_convert.output import replacing

SAFETENSORS = ".safetensors"
PICKLES = (".pt", ".pth")
SHARD_BYTES = 5_000_000_000
METADATA = {"format": "pt"}  # which transformers and diffusers ask for


def check_name(target: Path) -> None:
    """Raises: UserError, when the name is neither a folder's nor a file's of a known kind."""
    if target.suffix and target.suffix not in (SAFETENSORS, *PICKLES) and not target.is_dir():
        kinds = ", ".join((SAFETENSORS, *PICKLES))
        raise UserError(f"{target}: weights are written as {kinds}, or into a folder (a name without ending)")


def write(
    state: State, target: Path, *, config: Mapping[str, Any], stem: str, entry: str = "", shard: int = SHARD_BYTES
) -> None:
    """Write one file, or a folder with files `stem*.safetensors` of at most `shard` bytes and config.json.

    entry: of a .pt or .pth file, under which weights lie; empty: at its top. Raises: UserError, when it cannot be
    written.
    """
    with replacing(target) as (place, _):
        if target.suffix == SAFETENSORS:
            save_file(_apart(state), place, METADATA)
        elif target.suffix in PICKLES:
            tensors = _apart(state)
            torch.save({entry: tensors} if entry else tensors, place)
        else:
            place.mkdir()
            _write_folder(state, place, config=config, stem=stem, shard=shard)


def _write_folder(state: State, folder: Path, *, config: Mapping[str, Any], stem: str, shard: int) -> None:
    plan = split_torch_state_dict_into_shards(
        state, filename_pattern=f"{stem}{{suffix}}{SAFETENSORS}", max_shard_size=shard
    )
    for name, entries in plan.filename_to_tensors.items():
        save_file(_apart({entry: state[entry] for entry in entries}), folder / name, METADATA)
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        _write_json(folder / f"{stem}{SAFETENSORS}.index.json", index)
    if config:
        _write_json(folder / "config.json", config)


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _apart(state: State) -> State:
    """The entries each with memory of its own, in one piece, so that none is written twice or with its neighbours."""
    seen: set[int] = set()
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        tensor = value.detach().contiguous()
        alone = tensor.untyped_storage().nbytes() == tensor.nbytes and tensor.data_ptr() not in seen
        out[name] = tensor if alone else tensor.clone()
        seen.add(out[name].data_ptr())
    return out
