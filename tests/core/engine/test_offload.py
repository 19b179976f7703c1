"""Blocks that are on the device for their turn alone: equal results, two at a time, and weights that stay."""

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from torch import Tensor, nn
from vidgen.engine import sample
from vidgen.engine.offload import Carrier, Offload, StreamCarrier
from vidgen.testing import tiny_model_inputs

SIZES: dict[str, dict[str, Any]] = {
    "STDiT3": {"hidden_size": 24, "depth": 3, "num_heads": 2},
    "PixArt": {"hidden_size": 24, "depth": 3, "num_heads": 3, "input_size": (2, 4, 6)},
    "DiT": {"hidden_size": 24, "depth": 1, "num_heads": 3, "condition": "text", "input_size": (2, 4, 6)},
}


class Watched(Carrier):
    """To another place on the CPU. What waits is not a number, so that a block that is not brought is noticed."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.real: dict[int, Tensor] = {}
        self.owners: dict[int, int] = {}
        self.log: list[str] = []
        self.most = 0
        self._copies: list[Any] = []

    def kept(self, weight: Tensor) -> Tensor:
        waiting = torch.full_like(weight, float("nan") if weight.is_floating_point() else 0)
        self.real[id(waiting)] = weight.clone()
        self.owners[id(waiting)] = len(self.owners)
        return waiting

    def start(self, weights: Sequence[Tensor]) -> list[Tensor]:
        copies = [self.real[id(weight)].clone() for weight in weights]
        self.log.append(f"start {self.owners[id(weights[0])]}")
        self._copies = [one for one in self._copies if one() is not None] + [weakref.ref(copies[0])]
        self.most = max(self.most, len(self._copies))
        return copies

    def arrived(self, copies: Sequence[Tensor]) -> None:
        self.log.append("arrived")


def built(name: str) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = vidgen.build("model", name, caption_channels=7, model_max_length=5, **SIZES[name])
        for value in model.parameters():
            value.data += 0.1 * torch.randn(value.shape)
    return model.eval()


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_predictions_are_the_same(name: str, mode: Callable[[], Any]) -> None:
    model, carrier = built(name), Watched()
    x, t, conditioning = tiny_model_inputs(model)
    with mode():
        before = model(x, t, **model.encode_text(conditioning))
        Offload(model, carrier)
        made = [model(x * factor, t, **model.encode_text(conditioning)) for factor in (1, 2, 1)]
    assert torch.equal(made[0], made[2]) and not torch.equal(made[1], before)
    torch.testing.assert_close(made[0], before, rtol=0, atol=1e-6)


def test_the_next_block_is_sent_for_while_one_works_and_no_other_is_there() -> None:
    model, carrier = nn.ModuleDict({"blocks": nn.ModuleList(nn.Linear(3, 3) for _ in range(4))}), Watched()
    model.repeated_blocks = lambda: list(model["blocks"])  # type: ignore[assignment]
    Offload(model, carrier)
    first = {f"start {2 * number}": number for number in range(4)}
    x = torch.ones(2, 3)
    for _ in range(2):
        for block in model["blocks"]:
            x = block(x)
            assert all(bool(weight.isnan().all()) for weight in block.parameters()), "given up after its turn"
    assert x.isfinite().all()
    starts = [first[line] for line in carrier.log if line != "arrived"]
    assert starts == [0, 1, 2, 3, 0, 1, 2, 3, 0] and carrier.most == 2


def test_blocks_out_of_turn_and_errors_are_seen_to() -> None:
    model = nn.ModuleDict({"blocks": nn.ModuleList(nn.Linear(3, 3) for _ in range(3))})
    model.repeated_blocks = lambda: list(model["blocks"])  # type: ignore[assignment]
    expected = [block(torch.ones(3)) for block in model["blocks"]]
    Offload(model, Watched())
    for number in (2, 0, 0, 1):
        assert torch.equal(model["blocks"][number](torch.ones(3)), expected[number])
    with pytest.raises(RuntimeError):
        model["blocks"][1](torch.ones(5))
    assert model["blocks"][1].weight.isnan().all()


def test_weights_are_named_and_saved_as_before() -> None:
    model = built("STDiT3")
    names, print_before = list(model.state_dict()), vidgen.weights.fingerprint(model)
    Offload(model, Carrier(torch.device("cpu")))
    x, t, conditioning = tiny_model_inputs(model)
    with torch.inference_mode():
        model(x, t, **conditioning)
    assert list(model.state_dict()) == names and vidgen.weights.fingerprint(model) == print_before


def test_on_a_cpu_nothing_is_done_and_that_is_said(
    train: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = train("trained", max_steps=1)
    monkeypatch.setattr(sample, "Offload", lambda *_: pytest.fail("there is nothing to gain"))
    recipe = {"job": "sample", "checkpoint": str(trained), "prompts": ["a"], "offload_blocks": True}
    vidgen.run(vidgen.load_recipe({**recipe, "outputs": str(tmp_path / "made")}))
    assert "the blocks are where they are used, in the CPU's memory" in caplog.text
    assert len(list((tmp_path / "made").glob("*.mp4"))) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_holds_two_blocks_at_most() -> None:
    model = vidgen.build("model", "STDiT3", hidden_size=288, depth=8, num_heads=4, caption_channels=7).eval()
    x, t, conditioning = tiny_model_inputs(model)
    there = {key: value.cuda() for key, value in conditioning.items()}
    with torch.inference_mode():
        before = model.cuda()(x.cuda(), t.cuda(), **there)
        whole = torch.cuda.memory_allocated()
        model.cpu()
        Offload(model, StreamCarrier(torch.device("cuda")))
        torch.cuda.reset_peak_memory_stats()
        after = model(x.cuda(), t.cuda(), **there)
    assert torch.equal(before, after) and torch.cuda.max_memory_allocated() < whole / 2
