"""Fewer keys and values, and normalised queries and keys, of PixArt-Sigma's self attention."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, layer_norm
from vidgen import UserError
from vidgen_layers.sharing import Sequences
from vidgen_pixart import KvCompression
from vidgen_pixart.compression import SigmaAttention, key_groups
from vidgen_pixart.model import PixArt

Make = Callable[..., PixArt]
Batch = dict[str, Tensor]
CPU = torch.device("cpu")


def config(sampling: str | None, s: int, *layers: int) -> KvCompression:
    return KvCompression(sampling=sampling, scale_factor=s, kv_compress_layer=list(layers))


def tokens(frames: int, rows: int, columns: int) -> Tensor:
    return torch.randn(2, frames * rows * columns, 12, generator=torch.Generator().manual_seed(1))


def test_a_learned_mean_is_a_depthwise_convolution_of_each_frame_and_a_layer_norm() -> None:
    frames, rows, columns = 3, 5, 7  # the fifth row and the seventh column are left out
    layer = SigmaAttention(12, 3, norm=None, side=2)
    h = tokens(frames, rows, columns)
    got = layer._reduced(h, key_groups(config("conv", 2), (frames, rows, columns), CPU))
    images = h.view(2 * frames, rows, columns, 12).permute(0, 3, 1, 2)
    means = conv2d(images, layer.sr.weight, layer.sr.bias, stride=2, groups=12)
    wanted = means.view(2, frames, 12, -1).transpose(2, 3).flatten(1, 2)
    wanted = layer_norm(wanted, (12,), layer.norm.weight, layer.norm.bias, eps=1e-5)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


def test_ave_takes_the_nearest_token_and_drops_the_remainder() -> None:
    h = tokens(1, 5, 7)
    got = h[:, key_groups(config("ave", 2), (1, 5, 7), CPU)[:, 0]]
    images = h.view(2, 5, 7, 12).permute(0, 3, 1, 2)
    wanted = interpolate(images, scale_factor=1 / 2, mode="nearest").flatten(2).transpose(1, 2)
    assert torch.equal(got, wanted)


def test_the_first_tokens_of_squares_and_every_third_token() -> None:
    assert key_groups(config("uniform", 2), (2, 4, 2), CPU).flatten().tolist() == [0, 4, 8, 12]
    assert key_groups(config("uniform_every", 3), (1, 3, 5), CPU).flatten().tolist() == [0, 3, 6, 9, 12]


def test_a_step_of_one_and_no_layers_change_nothing(lively: Make, batch: Batch) -> None:
    expected = lively()(**batch)
    for nothing in (config("conv", 1, 0, 1), config(None, 1, 0), config("uniform", 2)):
        assert torch.equal(lively(kv_compress_config=nothing)(**batch), expected)


def test_only_the_named_blocks_have_a_convolution(fresh: Make) -> None:
    model = fresh("PixArt_Sigma", depth=3, kv_compress_config=config("conv", 2, 0, 2))
    names = {name for name in model.state_dict() if ".attn.sr." in name or ".attn.norm." in name}
    assert names == {
        f"blocks.{i}.attn.{layer}.{leaf}" for i in (0, 2) for layer in ("sr", "norm") for leaf in ("weight", "bias")
    }
    assert model.blocks[0].attn.sr.weight.shape == (24, 1, 2, 2)


@pytest.mark.parametrize("over", ["heads", "width"])
def test_normalised_queries_and_keys_do_not_feel_their_length(lively: Make, batch: Batch, over: str) -> None:
    model = lively(qk_norm=True, qk_norm_over=over)
    assert model.blocks[0].attn.q_norm.weight.shape == ((8,) if over == "heads" else (24,))
    expected = model(**batch)
    with torch.no_grad():
        for block in model.blocks:
            block.attn.qkv.weight[:48] *= 3
            block.attn.qkv.bias[:48] *= 3
    torch.testing.assert_close(model(**batch), expected, rtol=0, atol=1e-3)


def test_the_norm_over_the_width_comes_before_the_compression_and_that_per_head_after_it() -> None:
    h, groups = tokens(1, 2, 4), key_groups(config("conv", 2), (1, 2, 4), CPU)
    for over in ("heads", "width"):
        layer = SigmaAttention(12, 3, norm=over, side=2)
        seen = []
        layer.k_norm.register_forward_hook(lambda module, args, out, seen=seen: seen.append(args[0].shape))
        assert layer(h, groups, Sequences(length=8)).shape == h.shape
        assert seen == [{"heads": (2, 3, 2, 4), "width": (2, 8, 12)}[over]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (config("conv", 2, 2), "names block 2, but there are blocks 0 to 1"),
        (config(None, 2, 1), "scale_factor 2 and blocks, but no sampling"),
        (config("uniform", 2, 1), r"\(uniform, scale_factor 2\) takes rows and columns of patches that divide by 2"),
        (config("uniform_every", 4, 1), "takes a number of tokens that divides by 4; clips of 2 rows and 5 columns"),
        (config("conv", 3, 1), "takes 3 rows and columns of patches or more"),
        (config("ave", 3, 1), "takes 3 rows and columns of patches or more"),
    ],
)
def test_what_cannot_be_compressed_is_refused_when_built(fresh: Make, given: KvCompression, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh(kv_compress_config=given)


def test_a_size_that_cannot_be_compressed_is_refused_when_it_comes(fresh: Make, batch: Batch) -> None:
    model = fresh("PixArt_Sigma", kv_compress_config=config("uniform", 2, 1))
    assert model(**{**batch, "x": torch.zeros(2, 3, 2, 8, 4)}).shape == (2, 6, 2, 8, 4)
    with pytest.raises(UserError, match="clips of 2 rows and 5 columns of patches in 3 frames have not"):
        model(**batch)
