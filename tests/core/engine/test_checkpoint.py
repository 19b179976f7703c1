"""What a checkpoint gives back, and to what."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from vidgen import UserError
from vidgen.engine import checkpoint
from vidgen.engine.checkpoint import Saved
from vidgen.engine.ema import Ema


def saved(value: float, width: int = 3) -> Saved:
    """A layer filled with `value`, of which the bias is not trained, and an average that has gone halfway from twice
    that."""
    model = nn.Linear(2, width)
    model.bias.requires_grad_(False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(2 * value)
        ema = Ema(model, 0.5)
        for parameter in model.parameters():
            parameter.fill_(value)
    ema.update()
    return Saved(model, torch.optim.SGD([model.weight], lr=0.1), ema)


def averages(one: Saved) -> dict[str, torch.Tensor]:
    assert one.ema is not None
    return one.ema.state_dict()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return checkpoint.save(tmp_path, saved(4.0), {"epoch": 0, "step": 2}, None)


def test_weights_and_averages_come_back_each_to_its_place(written: Path) -> None:
    again = saved(1.0)
    assert checkpoint.restore(written, again) == {"epoch": 0, "step": 2}
    assert (again.model.weight == 4).all() and (again.model.bias == 4).all()
    assert (averages(again)["weight"] == 6).all()


def test_weights_that_are_no_longer_averaged_stay_what_the_model_had(written: Path) -> None:
    """Their average is in the file, when they were trained before; the run goes on from the weights themselves."""
    path = written / "ema" / "model.safetensors"
    save_file({**load_file(path), "bias": torch.full((3,), 5.0)}, path)
    again = saved(1.0)
    checkpoint.restore(written, again)
    assert (again.model.bias == 4).all() and (averages(again)["bias"] == 4).all()
    assert (averages(again)["weight"] == 6).all()


def test_averages_of_another_model_are_told_by_their_names(written: Path) -> None:
    """Those that would not be read, too."""
    path = written / "ema" / "model.safetensors"
    save_file({"weight": load_file(path)["weight"]}, path)
    with pytest.raises(
        UserError, match=r"of another model than the average of Linear:\n    not in the file \(1\): bias"
    ):
        checkpoint.restore(written, saved(1.0))
    with pytest.raises(
        UserError, match=r"another model than Linear:\n    differ \(2\): bias: \(3,\) in the file, \(5,\)"
    ):
        checkpoint.restore(written, saved(1.0, width=5))


def test_files_say_of_what_kind_they_are(written: Path) -> None:
    """Programs that read published weights look for it."""
    for path in written.rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            assert file.metadata() == {"format": "pt"}
