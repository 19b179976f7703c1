"""Doubling and convolving at once, against doing one after the other."""

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.upsampling import Upsample2D
from torch import nn
from torch.nn import functional
from vidgen_autoencoders.upsample import WORTHWHILE, DoublingConv, with_fast_doubling


def one_after_the_other(conv, x):
    return conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


@pytest.mark.parametrize("size", [(17, 19), (1, 300), (300, 1), (3, 5), (1, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_doubling_and_then_convolving(size, bias):
    layer = DoublingConv(nn.Conv2d(3, 5, 3, padding=1, bias=bias)).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(layer(x), one_after_the_other(layer.conv, x))


def test_its_gradients_are_the_same():
    layer, x = DoublingConv(nn.Conv2d(3, 2, 3, padding=1)).double(), torch.randn(1, 3, 17, 18, dtype=torch.float64)
    assert x.shape[2] * x.shape[3] > WORTHWHILE
    slope = torch.randn(1, 2, 34, 36, dtype=torch.float64)
    inputs = (x.requires_grad_(), layer.conv.weight, layer.conv.bias)
    made = torch.autograd.grad(layer(x), inputs, slope)
    for one, other in zip(made, torch.autograd.grad(one_after_the_other(layer.conv, x), inputs, slope), strict=True):
        torch.testing.assert_close(one, other)


def test_names_in_a_network_of_diffusers_stay():
    network = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        block_out_channels=[4, 6],
        norm_num_groups=2,
    )
    names, latents = list(network.state_dict()), torch.randn(1, 4, 19, 17)
    before = network.decode(latents).sample
    with_fast_doubling(network.decoder)
    assert isinstance(network.decoder.up_blocks[0].upsamplers[0], DoublingConv)
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network.decode(latents).sample, before, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [Upsample2D(4, use_conv_transpose=True), Upsample2D(4), Upsample2D(4, use_conv=True, kernel_size=5, padding=2)],
    ids=["transposed", "no convolution", "5x5"],
)
def test_other_ways_of_growing_are_left_alone(layer):
    network = nn.Sequential(layer)
    with_fast_doubling(network)
    assert network[0] is layer
