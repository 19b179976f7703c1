"""STDiT2: start values, its two orders of normalisation, what it is told."""

from collections.abc import Callable

import attrs
import pytest
import torch
from torch import Tensor, nn
from vidgen.interfaces import Context
from vidgen_stdit import vidgen_models
from vidgen_stdit.stdit2 import build as build_stdit2

Make = Callable[..., nn.Module]
Batch = dict[str, Tensor]
OPTIONS = {component.name: component.options for component in vidgen_models()}


def test_the_published_size() -> None:
    with torch.device("meta"):
        model = build_stdit2(OPTIONS["STDiT2-XL/2"](), Context(load_weights=False))
    assert sum(p.numel() for p in model.parameters()) == 767_444_036
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 767_444_036 - 36
    assert model.pos_embed.frequencies.is_meta
    assert model.conditioning == {
        "y",
        "mask",
        "x_mask",
        "drop_caption",
        "valid",
        "fps",
        "height",
        "width",
        "num_frames",
        "ar",
    }


def test_the_published_size_has_the_order_of_its_released_weights() -> None:
    defaults = attrs.asdict(OPTIONS["STDiT2"]())
    assert attrs.asdict(OPTIONS["STDiT2-XL/2"]()) == {**defaults, "qk_norm_legacy": True}


def test_a_new_model_returns_zeros(build: Make, sized_batch: Batch) -> None:
    assert torch.equal(build("STDiT2")(**sized_batch), torch.zeros(2, 6, 5, 7, 9))


def test_start_values_have_their_distributions(build: Make) -> None:
    model = build("STDiT2", hidden_size=96, num_heads=4, qk_norm=True)
    state = model.state_dict()
    xavier = {
        "x_embedder.proj.weight": (6 / (3 * 4 + 96)) ** 0.5,
        "blocks.1.attn_temp.qkv.weight": (6 / (96 + 288)) ** 0.5,
        "csize_embedder.mlp.0.weight": (6 / (256 + 32)) ** 0.5,
        "fps_embedder.mlp.2.weight": (6 / (96 + 96)) ** 0.5,
        "x_embedder.proj.bias": (3 * 4) ** -0.5,
    }
    for name, bound in xavier.items():
        assert 0.9 * bound < state[name].abs().max() <= bound, name
    for name in ("t_embedder.mlp.0", "t_block.1", "t_block_temp.1", "y_embedder.y_proj.fc1", "y_embedder.y_proj.fc2"):
        assert state[f"{name}.weight"].std() == pytest.approx(0.02, rel=0.1), name
        assert not state[f"{name}.bias"].any(), name
    assert state["blocks.0.scale_shift_table_temporal"].std() == pytest.approx(96**-0.5, rel=0.2)
    assert state["blocks.0.attn_temp.q_norm.weight"].eq(1).all()
    for part in ("blocks.0.cross_attn.proj", "blocks.1.attn_temp.proj", "final_layer.linear"):
        assert not state[f"{part}.weight"].any(), part
        assert not state[f"{part}.bias"].any(), part


def test_both_orders_of_normalisation_agree_while_its_weight_is_constant(enlivened: Make, sized_batch: Batch) -> None:
    """A rotation keeps the sum of squares."""
    models = [enlivened("STDiT2", qk_norm=True, qk_norm_legacy=legacy) for legacy in (False, True)]
    early, late = (model(**sized_batch) for model in models)
    assert (early - late).abs().max() > 1e-3
    for model in models:
        for name, parameter in model.named_parameters():
            if name.endswith("_norm.weight"):
                parameter.data.fill_(1.5)
    torch.testing.assert_close(models[0](**sized_batch), models[1](**sized_batch), rtol=0, atol=1e-4)


@pytest.mark.parametrize("number", ["fps", "height", "width", "num_frames", "ar"])
def test_every_number_of_the_clip_has_an_influence(enlivened: Make, sized_batch: Batch, number: str) -> None:
    model = enlivened("STDiT2")
    other = model(**{**sized_batch, number: sized_batch[number] + torch.tensor([0.0, 1.0])})
    expected = model(**sized_batch)
    assert torch.equal(other[0], expected[0])
    assert not torch.equal(other[1], expected[1])


@pytest.mark.parametrize(
    ("option", "trained"),
    [
        ("not_temporal", lambda name: "attn_temp" in name),
        ("text", lambda name: "cross_attn" not in name),
        (None, lambda name: True),
    ],
)
def test_freezing_leaves_the_named_part(build: Make, option: str | None, trained: Callable[[str], bool]) -> None:
    flags = {name: p.requires_grad for name, p in build("STDiT2", freeze=option).named_parameters()}
    assert flags == {name: trained(name) and name != "rope.freqs" for name in flags}
