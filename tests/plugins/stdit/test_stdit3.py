"""STDiT3: start values, the sequence of its blocks, packed captions."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_stdit import vidgen_models
from vidgen_stdit.stdit3 import build as build_stdit3

Make = Callable[..., nn.Module]
Batch = dict[str, Tensor]
OPTIONS = {component.name: component.options for component in vidgen_models()}


@pytest.mark.parametrize(("name", "count"), [("STDiT3-XL/2", 1_207_643_972), ("STDiT3-3B/2", 3_182_211_572)])
def test_the_published_sizes(name: str, count: int) -> None:
    with torch.device("meta"):
        model = build_stdit3(OPTIONS[name](), Context(load_weights=False))
    assert sum(p.numel() for p in model.parameters()) == count
    assert model.y_embedder.y_embedding.shape == (300, 4096)
    assert model.conditioning == {"y", "mask", "x_mask", "drop_caption", "valid", "fps", "height", "width"}


def test_a_new_model_equals_its_spatial_half(build: Make, sized_batch: Batch) -> None:
    """Temporal blocks are identities, fps has no influence, and so frames know nothing of each other."""
    model = build("STDiT3")
    expected = model(**sized_batch)
    assert expected.abs().max() > 1e-2
    seen: list[tuple[Tensor, Tensor]] = []
    for block in model.temporal_blocks:
        block.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    assert torch.equal(model(**{**sized_batch, "fps": torch.tensor([1.0, 120.0])}), expected)
    assert len(seen) == 2
    assert all(torch.equal(before, after) for before, after in seen)
    one_frame = {**sized_batch, "x": sized_batch["x"][:, :, 3:4], "x_mask": sized_batch["x_mask"][:, 3:4]}
    torch.testing.assert_close(model(**one_frame), expected[:, :, 3:4], rtol=0, atol=1e-5)


def test_spatial_and_temporal_blocks_take_turns(enlivened: Make, sized_batch: Batch) -> None:
    model, order = enlivened("STDiT3"), []
    for name, module in model.named_modules():
        if name.count(".") == 1 and "_blocks." in name:
            module.register_forward_hook(lambda module, args, out, name=name: order.append(name))
    model(**sized_batch)
    assert order == ["spatial_blocks.0", "temporal_blocks.0", "spatial_blocks.1", "temporal_blocks.1"]
    assert [model.get_submodule(name) for name in order] == model.repeated_blocks()


def test_start_values_have_their_distributions(build: Make) -> None:
    state = build("STDiT3", hidden_size=96, num_heads=4).state_dict()
    bounds = {
        "x_embedder.proj.weight": (3 * 4) ** -0.5,
        "x_embedder.proj.bias": (3 * 4) ** -0.5,
        "t_embedder.mlp.0.weight": (6 / (256 + 96)) ** 0.5,
        "t_block.1.weight": (6 / (96 + 576)) ** 0.5,
        "y_embedder.y_proj.fc2.weight": (6 / (96 + 96)) ** 0.5,
        "spatial_blocks.1.cross_attn.proj.weight": (6 / (96 + 96)) ** 0.5,
        "temporal_blocks.1.attn.qkv.weight": (6 / (96 + 288)) ** 0.5,
        "final_layer.linear.weight": (6 / (96 + 24)) ** 0.5,
    }
    for name, bound in bounds.items():
        assert 0.9 * bound < state[name].abs().max() <= bound, name
        assert state[name].std() == pytest.approx(bound / 3**0.5, rel=0.15), name
    assert state["fps_embedder.mlp.0.weight"].std() == pytest.approx(0.02, rel=0.1)
    assert state["temporal_blocks.0.scale_shift_table"].std() == pytest.approx(96**-0.5, rel=0.2)
    assert state["spatial_blocks.0.attn.k_norm.weight"].eq(1).all()
    temporal = [f"temporal_blocks.{i}.{part}" for i in (0, 1) for part in ("attn.proj", "cross_attn.proj", "mlp.fc2")]
    for part in ("fps_embedder.mlp.2", *temporal):
        assert not state[f"{part}.weight"].any(), part
        assert not state[f"{part}.bias"].any(), part


def test_numbers_of_frames_and_aspect_ratios_are_not_used(enlivened: Make, sized_batch: Batch) -> None:
    model = enlivened("STDiT3")
    expected = model(**sized_batch)
    del sized_batch["num_frames"], sized_batch["ar"]
    assert torch.equal(model(**sized_batch), expected)


def test_both_kinds_of_blocks_share_the_rates_of_stochastic_depth(build: Make) -> None:
    rates = [block.drop_path.rate for block in build("STDiT3", drop_path=0.5, depth=3).repeated_blocks()]
    assert rates == pytest.approx([0, 0, 0.25, 0.25, 0.5, 0.5])


@pytest.mark.parametrize("as_list", [True, False])
def test_captions_may_come_projected_and_packed(enlivened: Make, sized_batch: Batch, as_list: bool) -> None:
    model, packed = enlivened("STDiT3"), enlivened("STDiT3", skip_y_embedder=True)
    sized_batch["mask"] = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    expected = model(**sized_batch)
    rows = model.y_embedder(sized_batch["y"])[sized_batch["mask"].bool()]
    lengths = torch.tensor([3, 1])
    given = {**sized_batch, "y": rows[None], "mask": lengths.tolist() if as_list else lengths}
    torch.testing.assert_close(packed(**given), expected, rtol=0, atol=1e-5)
    assert "drop_caption" not in packed.conditioning
    assert packed.null_conditioning(given) is None
    assert packed.encode_text(given) == given
    on_meta = {key: torch.as_tensor(value).to("meta") for key, value in given.items()}
    assert packed.to("meta")(**on_meta).shape == expected.shape


@pytest.mark.parametrize(
    ("shape", "lengths", "message"),
    [
        ((2, 4, 24), [3, 1], r"captions of shape \(2, 4, 24\) .* takes y of shape \(1, tokens of all captions, 24\)"),
        ((1, 4, 7), [3, 1], r"captions of shape \(1, 4, 7\)"),
        ((1, 4, 24), [4], r"lengths of shape \(1,\) for 2 clips; .* 2 lengths"),
        ((1, 4, 24), None, "lengths of shape None"),
        ((1, 4, 24), [3, 2], r"lengths \[3, 2\], packed into 4 tokens"),
        ((1, 4, 24), [4, 0], "have to be 1 or more"),
    ],
)
def test_packed_captions_that_do_not_fit_are_refused(
    build: Make, sized_batch: Batch, shape: tuple[int, ...], lengths: list[int] | None, message: str
) -> None:
    model = build("STDiT3", skip_y_embedder=True)
    with pytest.raises(UserError, match=message):
        model(**{**sized_batch, "y": torch.zeros(shape), "mask": lengths})


def test_a_list_of_lengths_goes_with_packed_captions_alone(build: Make, sized_batch: Batch) -> None:
    with pytest.raises(UserError, match="got a list as mask"):
        build("STDiT3")(**{**sized_batch, "mask": [3, 1]})


@pytest.mark.parametrize(
    ("options", "trained"),
    [
        ({"only_train_temporal": True}, lambda name: name.startswith("temporal_blocks.")),
        ({"freeze_y_embedder": True}, lambda name: not name.startswith("y_embedder.")),
        ({"only_train_temporal": True, "freeze_y_embedder": True}, lambda name: name.startswith("temporal_blocks.")),
        ({}, lambda name: True),
    ],
)
def test_freezing_leaves_the_named_part(build: Make, options: dict[str, bool], trained: Callable[[str], bool]) -> None:
    flags = {name: p.requires_grad for name, p in build("STDiT3", **options).named_parameters()}
    assert flags == {name: trained(name) and name != "rope.freqs" for name in flags}
