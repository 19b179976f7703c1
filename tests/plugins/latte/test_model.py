"""Latte's forward pass: what it takes, gives and refuses."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen.mesh import ALONE
from vidgen_latte import LatteOptions
from vidgen_latte.layers import AcrossFrames, WithinFrames
from vidgen_latte.model import Latte, build
from vidgen_layers.sharing import Sequences, shared_grid

Make = Callable[..., Latte]
Batch = dict[str, Tensor]


def test_output_has_twice_the_channels_with_a_variance_and_is_float32(lively: Make, batch: Batch) -> None:
    assert lively()(**batch).shape == (2, 6, 5, 6, 14)
    assert lively(learn_sigma=False)(**batch).shape == (2, 3, 5, 6, 14)
    exact, half = lively()(**batch), lively().bfloat16()(**batch)
    assert half.dtype == torch.float32
    assert (half - exact).norm() < 0.05 * exact.norm()


def test_a_batch_of_two_gives_what_single_clips_give(lively: Make, batch: Batch) -> None:
    model = lively()
    alone = [model(**{k: v[i : i + 1] for k, v in batch.items()}) for i in (0, 1)]
    torch.testing.assert_close(model(**batch), torch.cat(alone), rtol=0, atol=1e-4)


def test_a_spatial_block_is_a_block_on_every_frame_alone(lively: Make) -> None:
    h, c = torch.randn(2, 5, 21, 24), torch.randn(2, 24)
    block, grid = lively().blocks[0], shared_grid(ALONE, 5, 21)
    expected = block(h.view(2 * 5, 21, 24), c.repeat_interleave(5, 0), Sequences(length=21)).view_as(h)
    torch.testing.assert_close(block(h, c, WithinFrames(grid=grid)), expected, rtol=0, atol=1e-5)


def test_a_temporal_block_is_a_block_on_every_place_alone(lively: Make) -> None:
    h, c = torch.randn(2, 5, 21, 24), torch.randn(2, 24)
    block, grid = lively().blocks[1], shared_grid(ALONE, 5, 21)
    places = h.transpose(1, 2).reshape(2 * 21, 5, 24)
    expected = block(places, c.repeat_interleave(21, 0), Sequences(length=5)).view(2, 21, 5, 24).transpose(1, 2)
    torch.testing.assert_close(block(h, c, AcrossFrames(grid=grid)), expected, rtol=0, atol=1e-5)


def test_the_first_block_looks_within_frames_and_the_second_across(lively: Make, batch: Batch) -> None:
    changed = batch["x"].clone()
    changed[0, :, 4, 5, 13] += 1
    for depth, frames in ((1, [4]), (2, [0, 1, 2, 3, 4])):
        model = lively(depth=depth)
        difference = (model(**{**batch, "x": changed}) - model(**batch)).abs().amax((1, 3, 4))
        assert difference[0].nonzero().flatten().tolist() == frames
        assert not difference[1].any()


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_positions_of_frames_come_before_the_second_block_alone(lively: Make, batch: Batch, depth: int) -> None:
    model, seen = lively(depth=depth, no_temporal_pos_emb=True), []
    for block in model.blocks:
        block.register_forward_hook(lambda module, inputs, out: seen.append((inputs[0], out)))
    model(**batch)
    for i, ((_, out), (given, _)) in enumerate(pairwise(seen), start=1):
        added = model.pos_embed_temporal[0, :, None] if i == 1 else 0
        torch.testing.assert_close(given, out + added, rtol=0, atol=0)


def test_a_model_of_depth_one_does_not_know_the_order_of_frames(lively: Make, batch: Batch) -> None:
    turned = {**batch, "x": batch["x"].flip(2)}
    single, double = lively(depth=1), lively()
    torch.testing.assert_close(single(**turned).flip(2), single(**batch), rtol=0, atol=1e-5)
    assert (double(**turned).flip(2) - double(**batch)).abs().max() > 1e-3


def test_dropped_captions_equal_the_null_conditioning(lively: Make, batch: Batch) -> None:
    model = lively()
    null = model.null_conditioning({"y": batch["y"], "mask": batch["mask"]})
    assert null is not None
    mixed = {**batch, "y": torch.stack([null["y"][0], batch["y"][1]])}
    dropped = model(**batch, drop_caption=torch.tensor([True, False]))
    torch.testing.assert_close(dropped, model(**mixed), rtol=0, atol=1e-5)


def test_a_dropped_class_is_the_class_behind_the_last(lively: Make, batch: Batch) -> None:
    model = lively(condition="label_5")
    x, t, y = batch["x"], batch["timestep"], torch.tensor([4, 1])
    dropped = model(x, t, y, drop_caption=torch.tensor([False, True]))
    torch.testing.assert_close(dropped, model(x, t, torch.tensor([4, 5])), rtol=0, atol=0)
    assert lively(condition="label_5", class_dropout_prob=0.0).null_conditioning({"y": y}) is None


@pytest.mark.parametrize("condition", ["text", "flat_text", "label_5"])
def test_text_encoded_once_gives_the_same(lively: Make, batch: Batch, condition: str) -> None:
    model = lively(condition=condition)
    known = {**batch, "drop_caption": torch.tensor([False, True])}
    if condition == "label_5":
        known["y"] = torch.tensor([0, 3])
    conditioning = {key: value for key, value in known.items() if key in model.conditioning}
    encoded, x, t = model.encode_text(conditioning), batch["x"], batch["timestep"]
    assert {key: value.shape for key, value in encoded.items()} == {"text": (2, 24)}
    torch.testing.assert_close(model(x, t, **encoded), model(x, t, **conditioning), rtol=0, atol=1e-6)


def test_a_model_without_condition_takes_none(lively: Make, batch: Batch) -> None:
    model = lively(condition="none")
    assert (model.conditioning, model.text_width, model.caption_dropout) == (frozenset(), 0, 0)
    assert model.null_conditioning({}) is None
    assert model.encode_text({}) == {}
    assert not [name for name in model.state_dict() if name.startswith(("y_embedder", "text_embedding"))]
    assert model.train()(batch["x"], batch["timestep"]).shape == (2, 6, 5, 6, 14)


def test_flat_captions_count_token_by_token_and_modulate_the_blocks_alone(lively: Make, batch: Batch) -> None:
    model, x, t, y = lively(condition="flat_text"), batch["x"], batch["timestep"], batch["y"]
    assert model.text_embedding_projection is not None
    assert model.text_embedding_projection[1].weight.shape == (24, 4 * 7)
    assert (model.conditioning, model.text_width, model.caption_dropout) == ({"y"}, 7, 0)
    assert model.null_conditioning({"y": y}) is None
    out, last = model(x, t, y), []
    assert (model(x, t, y.flip(1)) - out).abs().max() > 1e-3
    for form in (y[:, None], y.flatten(1)):
        torch.testing.assert_close(model(x, t, form), out, rtol=0, atol=0)
    model.final_layer.register_forward_hook(lambda module, inputs, out: last.append(inputs[1]))
    model(x, t, y)
    model(x, t, y.flip(1))
    assert torch.equal(*last)
    with pytest.raises(
        UserError, match=r"captions of shape \(2, 3, 7\) .* takes \(2, 4, 7\): every caption padded to 4"
    ):
        model(x, t, y[:, :3])
    with pytest.raises(UserError, match="no null caption; leave drop_caption out"):
        model(x, t, y, drop_caption=torch.tensor([True, False]))
    with pytest.raises(UserError, match=r"text of shape \(2, 7\); it takes \(2, 24\)"):
        model(x, t, text=y[:, 0])
    with pytest.raises(UserError, match="got no caption: give y"):
        model(x, t)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": torch.zeros(2, 5, 3, 6, 14)}, r"latents of shape \(2, 5, 3, 6, 14\); it takes \(clips, 3, frames"),
        ({"x": torch.zeros(2, 3, 4, 6, 14)}, r"latents of \[4, 6, 14\] .* tables are for \[5, 6, 14\]"),
        ({"timestep": torch.zeros(3)}, r"timestep of shape \(3,\); it takes \(2,\)"),
        ({"y": torch.zeros(2, 4, 9)}, r"captions of shape \(2, 4, 9\) for 2 clips; it takes \(2, tokens, 7\)"),
        ({"mask": torch.ones(2, 3)}, r"caption mask of shape \(2, 3\) .* it takes \(2, 4\)"),
        ({"drop_caption": torch.ones(1, dtype=torch.bool)}, r"drop_caption of shape \(1,\); it takes \(2,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(fresh: Make, batch: Batch, changed: Batch, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh()(**{**batch, **changed})


def test_recomputed_blocks_give_the_same_gradients(lively: Make, batch: Batch) -> None:
    plain, model = lively(), lively()
    plain(**batch).square().mean().backward()
    for block in model.repeated_blocks():
        block.forward = recomputed(block.forward)
    model(**batch).square().mean().backward()
    for name, parameter in plain.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0, name
        torch.testing.assert_close(model.get_parameter(name).grad, parameter.grad, rtol=0, atol=0)


def recomputed(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *inputs: checkpoint(forward, *inputs, use_reentrant=False)


@pytest.mark.parametrize("i", [0, 1])
def test_a_block_compiles_into_one_graph_for_all_batch_sizes(lively: Make, batch: Batch, i: int) -> None:
    model, compiled = lively(), []
    expected = model(**batch)

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    model.blocks[i].compile(fullgraph=True, backend=count)
    torch.testing.assert_close(model(**batch), expected, rtol=0, atol=1e-6)
    for clips in (3, 5, 4, 1):
        model(**{key: value[:1].expand(clips, *value.shape[1:]) for key, value in batch.items()})
    assert len(compiled) <= 3


@pytest.mark.parametrize("condition", ["text", "flat_text", "label_5", "none"])
def test_nothing_is_read_back_from_the_device(condition: str) -> None:
    """The meta device has no numbers to read."""
    options = LatteOptions(hidden_size=24, depth=2, num_heads=3, input_size=(5, 6, 14), condition=condition)
    with torch.device("meta"):
        width = None if condition == "label_5" else 7
        model = build(options, Context(text_width=width, text_length=4))
        known = {
            "y": torch.empty(2, dtype=torch.int64) if condition == "label_5" else torch.empty(2, 4, 7),
            "mask": torch.empty(1, 4, dtype=torch.int64),
            "drop_caption": torch.empty(2, dtype=torch.bool),
        }
        conditioning = {key: value for key, value in known.items() if key in model.conditioning}
        x, timestep = torch.empty(2, 4, 5, 6, 14), torch.empty(2)
        assert model.train()(x, timestep, **conditioning).is_meta
        assert model(x, timestep, **model.encode_text(conditioning)).shape == (2, 8, 5, 6, 14)
