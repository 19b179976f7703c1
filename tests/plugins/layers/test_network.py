"""From options to a network: where its weights and its published options come from."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from vidgen.interfaces import Context
from vidgen.weights import hub
from vidgen_stdit import STDiT3Options
from vidgen_stdit.stdit3 import build

TINY = {"hidden_size": 24, "depth": 1, "num_heads": 3}


def test_an_id_is_asked_for_once_for_options_and_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(latent_channels=3, text_width=7, text_length=4)
    trained = build(STDiT3Options(**TINY, qk_norm=False), context)
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({**TINY, "qk_norm": False}))
    asked: list[str] = []
    monkeypatch.setattr(hub, "download", lambda name: asked.append(name) or tmp_path)
    monkeypatch.chdir(tmp_path)
    model = build(STDiT3Options(from_pretrained="tiny-org/tiny"), context)
    assert asked == ["tiny-org/tiny"]
    for name, value in trained.named_parameters():
        assert torch.equal(model.get_parameter(name), value), name
