"""Causal convolutions against the formula, and what looks at what."""

import pytest
import torch
from torch.nn import functional
from vidgen_opensora_vae.causal import SMALL, CausalConv3d, ResBlock


def by_the_formula(layer, x):
    """Zeros all around a frame and in front of the clip, then an ordinary convolution."""
    frames, rows, columns = layer.conv.kernel_size
    stride = layer.conv.stride[0]
    padding = (columns // 2, columns // 2, rows // 2, rows // 2, frames - 1 + 1 - stride, 0)
    return functional.conv3d(functional.pad(x, padding), layer.conv.weight, layer.conv.bias, (stride, 1, 1))


@pytest.mark.parametrize("size", [(6, 5, 7), (6, 90, 3)], ids=["small", "large"])
@pytest.mark.parametrize(
    ("kernel", "stride"), [((3, 3, 3), 1), ((3, 3, 3), 2), ((1, 1, 1), 1), ((4, 3, 1), 1), ((4, 3, 1), 2)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_convolution_of_the_formula(size, stride, kernel, dtype):
    layer = CausalConv3d(20, 4, kernel, stride=stride, bias=stride == 1).to(dtype)
    x = torch.randn(2, 20, *size, dtype=dtype)
    assert (x[..., 0].numel() <= SMALL) == (size == (6, 5, 7))
    torch.testing.assert_close(layer(x), by_the_formula(layer, x), rtol=1e-4, atol=1e-5)


def test_a_frame_depends_on_earlier_ones_alone():
    layer, x = CausalConv3d(2, 3, (3, 3, 3)), torch.randn(1, 2, 6, 4, 5)
    changed = x.clone()
    changed[:, :, 3] += 1
    differs = (layer(changed) != layer(x)).transpose(1, 2).flatten(2)
    assert differs.any(dim=2)[0].tolist() == [False, False, False, True, True, True]


def test_gradients_of_both_ways_agree():
    layer, x = CausalConv3d(3, 2, (3, 3, 3)), torch.randn(2, 3, 5, 4, 6)
    inputs = (x.requires_grad_(), layer.conv.weight, layer.conv.bias)
    slope = torch.randn(2, 2, 5, 4, 6)
    made = torch.autograd.grad(layer(x), inputs, slope)
    for one, other in zip(made, torch.autograd.grad(by_the_formula(layer, x), inputs, slope), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_block_adds_to_its_input():
    block = ResBlock(4, 4, 2, functional.silu)
    with torch.no_grad():
        block.conv2.conv.weight.zero_()
    x = torch.randn(1, 4, 3, 2, 5)
    assert torch.equal(block(x), x)
    assert {name.split(".")[0] for name in ResBlock(4, 6, 2, functional.silu).state_dict()} == {
        *("norm1", "conv1", "norm2", "conv2", "conv3")
    }
