"""Linear maps through oneDNN: torch's numbers, whatever the shape, the strides and who asks."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from vidgen_layers import linear as module
from vidgen_layers.linear import Linear

SHAPES = [((5, 7), 3, 4), ((2, 3, 4), 8, 5), ((6,), 3, 9), ((2, 1, 3), 1, 7), ((4, 5), 6, 1)]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small products go the longer way as well."""
    monkeypatch.setattr(module, "WORTHWHILE", 0)
    yield


def twins(inside: int, out: int, *, bias: bool = True) -> tuple[Linear, nn.Linear]:
    torch.manual_seed(0)
    ours, theirs = Linear(inside, out, bias=bias), nn.Linear(inside, out, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def slopes(layer: nn.Linear, x: Tensor, slope: Tensor) -> list[Tensor]:
    """Result and gradients."""
    x = x.detach().requires_grad_()
    out = layer(x)
    out.backward(slope)
    return [out, *(one.grad for one in (x, *layer.parameters()) if one.grad is not None)]


@pytest.mark.skipif(not module.HAS_ONEDNN, reason="this torch has no oneDNN")
def test_large_products_go_to_onednn_and_small_ones_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    product = module._product
    monkeypatch.setattr(module, "_product", lambda *parts: asked.append(parts[0].shape) or product(*parts))
    layer = Linear(512, 512)
    layer(torch.randn(3, 512))
    layer(torch.randn(640, 512))
    assert asked == [(640, 512)]


@pytest.mark.parametrize(("rows", "inside", "out"), SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_results_and_gradients_are_torchs(
    always: None, rows: tuple[int, ...], inside: int, out: int, bias: bool
) -> None:
    ours, theirs = twins(inside, out, bias=bias)
    x, slope = torch.randn(*rows, inside), torch.randn(*rows, out)
    for mine, wanted in zip(slopes(ours, x, slope), slopes(theirs, x, slope), strict=True):
        torch.testing.assert_close(mine, wanted)


def test_strides_do_not_matter(always: None) -> None:
    """A transposed x, a slope that is one number everywhere, a weight that is part of another."""
    ours, theirs = twins(4, 6)
    x = torch.randn(4, 3, 5).permute(2, 1, 0)
    for layer in (ours, theirs):
        layer(x).sum().backward()
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    wide = torch.randn(6, 8)
    torch.testing.assert_close(module.linear(x, wide[:, ::2], None), x @ wide[:, ::2].t())


def test_only_what_is_asked_for_is_worked_out(always: None) -> None:
    layer, _ = twins(4, 6)
    layer.weight.requires_grad_(False)
    x = torch.randn(3, 4)
    layer(x).sum().backward()
    assert layer.weight.grad is None and layer.bias.grad is not None and x.grad is None


def test_no_rows_give_no_rows(always: None) -> None:
    layer, _ = twins(4, 6)
    assert layer(torch.empty(0, 4)).shape == (0, 6)


def test_other_types_and_autocast_are_left_to_torch(always: None) -> None:
    ours, theirs = twins(4, 6)
    x = torch.randn(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(x).dtype == torch.bfloat16 and torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.double()(x.double()), theirs.double()(x.double()))


def test_compiled_it_gives_the_same(always: None) -> None:
    ours, theirs = twins(4, 6)
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    x, slope = torch.randn(3, 4), torch.randn(3, 6)
    for mine, wanted in zip(slopes(compiled, x, slope), slopes(theirs, x, slope), strict=True):
        torch.testing.assert_close(mine, wanted)
