"""Adapters of peft's form on disk, from peft itself or a checkpoint: tensors with a configuration beside them."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from torch import Tensor
from vidgen import runfolder, weights
from vidgen.errors import RunError, UserError

PREFIX = "base_model.model."
"""Before every name in peft's files."""
MATRIX = re.compile(r"(?P<layer>.+)\.lora_(?P<side>[AB])\.weight")
BIAS = re.compile(r"(?P<layer>.+?)(\.base_layer)?\.bias")
CONFIG = "adapter_config.json"


@frozen(kw_only=True)
class Pretrained:
    """What a folder holds. ranks: of each adapted layer. biases: layers whose bias was trained, too. alpha: what is
    added is scaled by alpha / rank, or by alpha / sqrt(rank) where `by_root`. state: all tensors, by their names in the
    file.
    """

    folder: Path
    ranks: Mapping[str, int]
    biases: frozenset[str]
    alpha: float
    by_root: bool
    state: Mapping[str, Tensor]

    def named(self) -> dict[str, Tensor]:
        """The tensors, by names that say nothing of whether the layer of a bias is adapted."""
        bare = {name.removeprefix(PREFIX): value for name, value in self.state.items()}
        return {PREFIX + name.replace(".base_layer", ""): value for name, value in bare.items()}


def read(source: str) -> Pretrained:
    """source: a run's or checkpoint's folder, a folder of peft's form, a Hugging Face id.

    Raises: UserError, when it holds no LoRA of linear layers; RunError, when it is damaged.
    """
    folder = find(source)
    state = weights.read_state(weights.find_weights(folder))
    config = _read_config(folder)
    ranks, biases = dict[str, int](), set[str]()
    for name, value in state.items():
        bare = name.removeprefix(PREFIX)
        matrix, bias = MATRIX.fullmatch(bare), BIAS.fullmatch(bare)
        if matrix is not None and value.ndim == 2:
            if matrix["side"] == "A":
                ranks[matrix["layer"]] = len(value)
        elif bias is not None:
            biases.add(bias["layer"])
        else:
            raise UserError(f"adapters: {folder} holds {name}, which is no part of a LoRA of linear layers")
    if not ranks:
        raise UserError(f"adapters: {folder} holds no LoRA: none of its entries is named ...lora_A.weight")
    return Pretrained(
        folder=folder,
        ranks=ranks,
        biases=frozenset(biases),
        alpha=config["lora_alpha"],
        by_root=bool(config.get("use_rslora", False)),
        state=state,
    )


def ranks_in(config: Mapping[str, Any]) -> dict[str, int]:
    """Of each adapted layer, from what `Lora.config` gave. Layers are named in full there, patterns match one each."""
    patterns = config.get("rank_pattern", {})
    return {name: patterns.get(re.escape(name), config.get("r")) for name in config.get("target_modules", ())}


def find(source: str) -> Path:
    """The folder with the configuration. Raises: UserError, when there is none."""
    folder = weights.local_folder(source)
    if (folder / CONFIG).is_file():
        return folder
    checkpoint = folder if runfolder.NAME.fullmatch(folder.name) else runfolder.latest(folder)
    if checkpoint is not None and (checkpoint / "adapter" / CONFIG).is_file():
        return checkpoint / "adapter"
    where = f"{checkpoint}/adapter" if checkpoint is not None else f"{folder}/checkpoints/*/adapter"
    raise UserError(
        f"adapters: no adapter in {source}: looked for {CONFIG} there and in {where}. Give the folder of a run that "
        "was trained with adapters, or one of peft's form."
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("lora_alpha"), int | float):
        raise UserError(f"adapters: {path} is not of a LoRA: it has no number `lora_alpha`")
    strange = [key for key in ("use_dora", "lora_bias", "alpha_pattern", "modules_to_save") if config.get(key)]
    if strange:
        raise UserError(f"adapters: {path} asks for {', '.join(strange)}, which is not supported")
    return config
