"""Linear layers in 8-bit floating point: which ones, refused where they cannot be, and what they do to a model."""

import importlib.util
from typing import Any

import pytest
import torch
import vidgen
from adapted import model_of, predicted
from torch import nn
from vidgen import UserError
from vidgen_fp8 import adapter

HAS_TORCHAO = importlib.util.find_spec("torchao") is not None
needs_torchao = pytest.mark.skipif(not HAS_TORCHAO, reason="torchao is not installed")


class Model(nn.Module):
    """Layers of several widths, inside a block and outside."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(32, 48), nn.Linear(48, 40), nn.Linear(40, 16))])
        self.head = nn.Linear(16, 32)

    def repeated_blocks(self) -> list[nn.Module]:
        return list(self.blocks)


def fp8(**options: Any) -> Any:
    return vidgen.build("adapter", "fp8", **{"min_features": 32, "emulate": True, **options})


@pytest.mark.skipif(HAS_TORCHAO, reason="torchao is installed")
def test_without_torchao_it_is_refused_and_says_how_to_have_it() -> None:
    with pytest.raises(UserError, match=r"fp8 cannot be used: torchao is not installed \(pip install 'vidgen-fp8"):
        fp8(emulate=False).apply(Model())


def test_without_a_gpu_that_can_do_it_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"fp8 cannot be used: there is no NVIDIA GPU\. Leave it out"):
        fp8(emulate=False).apply(Model())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 6))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A10")
    with pytest.raises(UserError, match="NVIDIA A10 has no 8-bit floating point"):
        fp8(emulate=False).apply(Model())


def test_a_dry_run_needs_neither() -> None:
    with torch.device("meta"):
        model = Model()
    fp8(emulate=False).apply(model)
    assert {type(one) for one in model.modules() if isinstance(one, nn.Linear)} == {nn.Linear}


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"targets": ["*.qkv"]}, r"targets: no linear layer fits '\*\.qkv'. The nearest are"),
        ({"min_features": 64}, "fp8 suits no layer of Model: of 3 none has 64 inputs and outputs or more"),
    ],
)
def test_a_model_that_it_does_not_suit_is_refused(options: dict[str, Any], refusal: str) -> None:
    with pytest.raises(UserError, match=refusal):
        fp8(**options).apply(Model())


@needs_torchao
@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, {"blocks.0.0"}),  # 40 is no multiple of 16, 16 is too narrow, the head is in no block
        ({"min_features": 16, "targets": ["head"]}, {"head"}),
    ],
)
def test_wide_layers_of_suitable_sizes_are_changed(options: dict[str, Any], changed: set[str]) -> None:
    model = Model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one = fp8(**options)
    one.apply(model)
    found = {name for name, part in model.named_modules() if type(part).__name__ == "Float8Linear"}
    assert found == changed
    assert one.own_names(model) == {} and list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    one.merge(model)
    assert list(model.state_dict()) == list(before)
    assert {type(part) for part in model.modules() if isinstance(part, nn.Linear)} == {nn.Linear}


@needs_torchao
@pytest.mark.parametrize("recipe", ["tensorwise", "rowwise", "rowwise_with_gw_hp"])
def test_a_product_and_its_gradients_are_those_of_float32_within_8_bits(recipe: str) -> None:
    """Three bits of mantissa: each factor is within 2^-4 of itself."""
    torch.manual_seed(0)
    exact = nn.Sequential(nn.Linear(32, 48))
    exact.repeated_blocks = lambda: [exact]
    rounded, x = nn.Sequential(nn.Linear(32, 48)), torch.randn(5, 32)
    rounded.repeated_blocks = lambda: []
    rounded.load_state_dict(exact.state_dict())
    fp8(recipe=recipe, targets=["0"]).apply(rounded)
    results = []
    for model in (exact, rounded):
        out = model(x)
        out.square().sum().backward()
        results.append((out.detach(), model[0].weight.grad))
    for good, rough in zip(*results, strict=True):
        error = (good - rough).norm() / good.norm()
        assert 1e-4 < error < 0.1


@needs_torchao
@pytest.mark.parametrize("name", ["STDiT3", "PixArt"])
def test_models_predict_nearly_the_same(name: str) -> None:
    model = model_of(name, hidden_size=32)
    exact = predicted(model)
    fp8(min_features=16).apply(model)
    error = (predicted(model) - exact).norm() / exact.norm()
    assert 1e-4 < error < 0.2


@pytest.mark.gpu
@pytest.mark.skipif(
    not (HAS_TORCHAO and torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 9)),
    reason="needs torchao and a GPU of compute capability 8.9",
)
def test_a_gpu_multiplies_in_8_bits_as_emulated() -> None:
    torch.manual_seed(0)
    found = []
    for emulate in (True, False):
        torch.manual_seed(0)
        model = Model().to("cuda", torch.bfloat16)
        fp8(emulate=emulate).apply(model)
        x = torch.randn(37, 32, device="cuda", dtype=torch.bfloat16, generator=torch.Generator("cuda").manual_seed(1))
        out = model.blocks[0][0](x)
        out.float().square().sum().backward()
        found.append((out.float(), model.blocks[0][0].weight.grad.float()))
    for emulated, real in zip(*found, strict=True):
        assert (emulated - real).norm() / emulated.norm() < 0.02
