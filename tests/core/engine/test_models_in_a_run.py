"""Every family of models trains and samples through a recipe: what each asks to be told, it is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import loss_log, tensors_of

SMALL = {"hidden_size": 24, "num_heads": 2, "depth": 2, "patch_size": [1, 1, 1]}
MODELS = {
    "STDiT2": {},
    "STDiT3": {"pred_sigma": False},
    "DiT": {"learn_sigma": False},
    "Latte": {},
    "PixArt": {},
    "PixArtMS": {},
    "PixArt_Sigma": {"kv_compress_config": {"sampling": "conv", "scale_factor": 2, "kv_compress_layer": [1]}},
}


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_and_samples(train: Callable[..., Path], name: str) -> None:
    model = {"type": name, **SMALL, **MODELS[name]}
    sample = {"prompts": ["a red circle"], "metrics": []}
    outputs = train(model=model, max_steps=4, sample=sample, grad_checkpoint=True, optimizer__lr=1e-2)
    header, *rows = loss_log(outputs)
    losses = [float(row[header.index("loss")]) for row in rows]
    assert len(losses) == 4 and all(0 < loss < 10 for loss in losses)
    assert list((outputs / "samples").rglob("*.mp4"))
    state = tensors_of(outputs, 4)
    moved = [key for key, value in state.items() if key.startswith("optimizer/") and value.abs().max() > 0]
    assert len(moved) > 10


def test_weights_of_a_run_start_another(train: Callable[..., Path]) -> None:
    """A run's folder is a place of weights; the averaged ones are taken, and nothing else is drawn."""
    model: dict[str, Any] = {"type": "STDiT3", **SMALL}
    first = train("first", model=model, max_steps=2)
    second = train("second", model={**model, "from_pretrained": str(first)}, max_steps=1, optimizer__lr=1e-12)
    averaged = {key: value for key, value in tensors_of(first, 2).items() if key.startswith("ema/")}
    for key, value in averaged.items():
        began = tensors_of(second, 1)[key.replace("ema/", "model/")]
        torch.testing.assert_close(began, value, rtol=1e-5, atol=1e-6)
