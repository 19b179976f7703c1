"""Weights in 16 and in 8 bits: what stays exact, and how far the rest is off."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from transformers import T5EncoderModel
from vidgen.interfaces import Context
from vidgen_text import ClipOptions, T5Options
from vidgen_text import clip as clip_module
from vidgen_text.precision import Int8Linear, set_precision, to_8_bits
from vidgen_text.t5 import build

TEXTS = ["the red car runs in the street at night", "", "a cat", "a slow dog sits on the blue car"]


def make(folder, **options):
    return build(T5Options(from_pretrained=str(folder), model_max_length=11, **options), Context())


def relative_error(made, exact):
    """Root mean square of the difference over that of the values, over all tokens."""
    return ((made.float() - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_16_bits_are_those_of_transformers_with_wo_in_float32(name, dtype, t5_folder):
    """As transformers itself keeps it beside float16."""
    encoder = make(t5_folder, dtype=name, padding="full")
    model = T5EncoderModel.from_pretrained(t5_folder).eval()
    exact = [block.layer[1].DenseReluDense.wo for block in model.encoder.block]
    weights = [linear.weight.data for linear in exact]
    model.to(dtype)
    for linear, weight in zip(exact, weights, strict=True):
        linear.weight.data = weight
    kinds = {key: value.dtype for key, value in encoder.network.state_dict().items()}
    assert kinds == {key: value.dtype for key, value in model.encoder.state_dict().items()}
    assert {key.split(".")[-2] for key, kind in kinds.items() if kind == torch.float32} == {"wo"}
    made = encoder.encode(TEXTS)
    mask = made["mask"]
    numbers = [[*one, *[0] * (11 - len(one))] for one in encoder.tokens(TEXTS)]
    with torch.no_grad():
        wanted = model(torch.tensor(numbers), attention_mask=mask).last_hidden_state
    assert made["y"].dtype == dtype
    torch.testing.assert_close(made["y"], wanted, rtol=0, atol=0)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("name", "error"), [("bf16", 0.012), ("fp16", 0.002), ("int8", 0.03)])
def test_the_error_is_bounded(name, error, fused, t5_folder):
    exact = make(t5_folder).encode(TEXTS)["y"]
    assert 0 < relative_error(make(t5_folder, dtype=name, shardformer=fused).encode(TEXTS)["y"], exact) < error


def test_the_error_of_clip_is_bounded(clip_folder):
    def encoded(dtype):
        options = ClipOptions(from_pretrained=str(clip_folder), model_max_length=9, dtype=dtype)
        return clip_module.build(options, Context()).encode(["a bad cab", "able", ""])["y"]

    assert 0 < relative_error(encoded("int8"), encoded("fp32")) < 0.03


def test_8_bits_take_a_quarter_of_the_memory(t5_folder):
    def matrices(dtype):
        encoder = make(t5_folder, dtype=dtype)
        return sum(p.numel() * p.element_size() for name, p in encoder.named_parameters() if ".block." in name)

    assert matrices("int8") < 0.35 * matrices("fp32")  # scales and norms are a larger share of a tiny model


def test_an_entry_is_off_by_half_a_step_at_most():
    sizes = torch.tensor([1e-3, 1, 7, 0, 1e3])
    matrix = torch.randn(5, 300, generator=torch.Generator().manual_seed(1)) * sizes[:, None]
    numbers, scale = to_8_bits(matrix)
    assert numbers.dtype == torch.int8
    assert numbers.abs().amax(dim=1).tolist() == [127, 127, 127, 0, 127]
    off = (numbers * scale[:, None] - matrix).abs()
    assert (off <= matrix.abs().amax(dim=1, keepdim=True) / 254 * 1.001).all()


def test_an_exact_matrix_gives_exact_results():
    """Whole numbers up to 127 times a power of two, in every row."""
    linear = nn.Linear(3, 2)
    linear.weight.data = torch.tensor([[127.0, -5, 0], [1 / 8, -127 / 8, 2 / 8]])
    short = Int8Linear(linear, None)
    short.weight.data, short.scale.data = to_8_bits(linear.weight.data)
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(short(x), linear(x), rtol=1e-6, atol=1e-6)
    assert short(x.bfloat16()).dtype == torch.bfloat16


def test_exact_maps_work_in_float32_whatever_comes_in():
    network = nn.ModuleDict({"wi": nn.Linear(3, 3), "wo": nn.Linear(3, 3)})
    for precision in ("bf16", "fp16", "int8"):
        made = deepcopy(network)
        set_precision(made, precision, exact=("wo",))
        x = torch.randn(2, 3).to(torch.float16)
        if precision == "int8":
            assert made["wo"](x).dtype == torch.float32
            assert made["wi"](x).dtype == torch.float16
        else:
            assert made["wo"].weight.dtype == torch.float32
