"""DiT's forward pass: what it takes, gives and refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen_dit import DiTOptions
from vidgen_dit.model import DiT, build

Make = Callable[..., DiT]
Batch = dict[str, Tensor]


def test_output_has_twice_the_channels_with_a_variance_and_is_float32(lively: Make, batch: Batch) -> None:
    assert lively()(**batch).shape == (2, 6, 5, 6, 14)
    assert lively(learn_sigma=False)(**batch).shape == (2, 3, 5, 6, 14)
    half = lively().bfloat16()(**batch)
    assert half.dtype == torch.float32
    assert half.isfinite().all()


def test_bfloat16_stays_near_float32_and_tells_timesteps_apart_that_it_cannot_hold(lively: Make, batch: Batch) -> None:
    exact, model = lively()(**batch), lively().bfloat16()
    assert (model(**batch) - exact).norm() < 0.05 * exact.norm()
    near = [model(**{**batch, "timestep": torch.tensor([t, t])}) for t in (999.0, 1000.0)]
    assert not torch.equal(*near)


def test_a_batch_of_two_gives_what_single_clips_give(lively: Make, batch: Batch) -> None:
    model = lively()
    alone = [model(**{k: v[i : i + 1] for k, v in batch.items()}) for i in (0, 1)]
    torch.testing.assert_close(model(**batch), torch.cat(alone), rtol=0, atol=1e-4)


def test_every_token_sees_all_frames_and_places(lively: Make, batch: Batch) -> None:
    model = lively()
    changed = batch["x"].clone()
    changed[0, :, 4, 5, 13] += 1
    difference = (model(**{**batch, "x": changed}) - model(**batch)).abs().amax(1)
    assert (difference[0] > 1e-7).all()
    assert not difference[1].any()


def test_frames_have_positions_unless_switched_off(lively: Make, batch: Batch) -> None:
    turned = {**batch, "x": batch["x"].flip(2)}
    without, model = lively(no_temporal_pos_emb=True), lively()
    torch.testing.assert_close(without(**turned).flip(2), without(**batch), rtol=0, atol=1e-5)
    assert (model(**turned).flip(2) - model(**batch)).abs().max() > 1e-3


def test_a_patch_of_two_frames_holds_both(lively: Make) -> None:
    model = lively(input_size=(4, 6, 14), patch_size=(2, 2, 2), condition="label_5")
    assert model.grid == (2, 3, 7)
    assert model.final_layer.linear.out_features == 2 * 2 * 2 * 6
    assert model(torch.randn(1, 3, 4, 6, 14), torch.zeros(1), torch.tensor([0])).shape == (1, 6, 4, 6, 14)


def test_a_caption_counts_by_the_mean_of_its_tokens(lively: Make, batch: Batch) -> None:
    model = lively()
    pooled = torch.stack([batch["y"][0, [0, 1, 3]].mean(0), batch["y"][1, 0]])[:, None]
    expected = model(batch["x"], batch["timestep"], pooled)
    torch.testing.assert_close(model(**batch), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(model(**{**batch, "y": batch["y"][:, None]}), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        model(batch["x"], batch["timestep"], pooled[:, None]), expected, rtol=0, atol=0
    )  # Open-Sora's form


def test_mask_rows_are_repeated_for_guidance(lively: Make, batch: Batch) -> None:
    model = lively()
    doubled = {key: torch.cat([value, value]) for key, value in batch.items()}
    torch.testing.assert_close(model(**{**doubled, "mask": batch["mask"]}), model(**doubled), rtol=0, atol=1e-6)


def test_dropped_captions_equal_the_null_conditioning(lively: Make, batch: Batch) -> None:
    model = lively()
    conditioning = {"y": batch["y"], "mask": batch["mask"]}
    null = model.null_conditioning(conditioning)
    assert null is not None
    assert torch.equal(null["y"][1, 2], model.y_embedder.y_embedding[0])
    dropped = model(**batch, drop_caption=torch.tensor([True, False]))
    mixed = torch.stack([null["y"][0], batch["y"][1]])
    torch.testing.assert_close(dropped, model(**{**batch, "y": mixed}), rtol=0, atol=1e-5)


def test_a_dropped_class_is_the_class_behind_the_last(lively: Make, still: dict[str, Any]) -> None:
    model = lively(**still)
    x, t, y = torch.randn(2, 3, 1, 6, 6), torch.tensor([0, 999]), torch.tensor([4, 1])
    assert model.y_embedder.embedding_table.weight.shape == (6, 24)
    assert (model.text_width, model.conditioning) == (0, {"y", "drop_caption"})
    null = model.null_conditioning({"y": y})
    assert null is not None
    assert null["y"].tolist() == [5, 5]
    dropped = model(x, t, y, drop_caption=torch.tensor([False, True]))
    torch.testing.assert_close(dropped, model(x, t, torch.tensor([4, 5])), rtol=0, atol=0)
    torch.testing.assert_close(model(x, t, y[:, None].int()), model(x, t, y), rtol=0, atol=0)


def test_without_dropout_there_is_no_null_class(lively: Make, still: dict[str, Any]) -> None:
    model = lively(**still, class_dropout_prob=0.0)
    assert model.y_embedder.embedding_table.weight.shape == (5, 24)
    assert (model.caption_dropout, model.conditioning) == (0, {"y"})
    assert model.null_conditioning({"y": torch.tensor([1])}) is None
    assert model.train()(torch.randn(1, 3, 1, 6, 6), torch.tensor([3]), torch.tensor([4])).isfinite().all()


@pytest.mark.parametrize(("rate", "same_as"), [(1.0, "null"), (0.0, "real")])
def test_captions_are_dropped_in_training_alone(lively: Make, batch: Batch, rate: float, same_as: str) -> None:
    model = lively(class_dropout_prob=rate)
    real = model(**batch)
    null = model(**{**batch, **(model.null_conditioning({"y": batch["y"]}) or {})})
    assert (real - null).abs().max() > 1e-3
    expected = {"null": null, "real": real}[same_as]
    torch.testing.assert_close(model.train()(**batch), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(model(**batch, drop_caption=torch.tensor([False, False])), real, rtol=0, atol=1e-6)


def test_classes_are_dropped_in_training_alone(lively: Make, still: dict[str, Any]) -> None:
    model = lively(**still, class_dropout_prob=1.0)
    x, t, y = torch.randn(2, 3, 1, 6, 6), torch.tensor([0, 999]), torch.tensor([4, 1])
    assert (model(x, t, y) - model(x, t, torch.tensor([5, 5]))).abs().max() > 1e-3
    assert torch.equal(model.train()(x, t, y), model(x, t, torch.tensor([5, 5])))


def test_text_encoded_once_gives_the_same(lively: Make, batch: Batch, still: dict[str, Any]) -> None:
    model = lively()
    conditioning = {"y": batch["y"][:, None], "mask": batch["mask"], "drop_caption": torch.tensor([False, True])}
    encoded = model.encode_text(conditioning)
    assert {key: value.shape for key, value in encoded.items()} == {"text": (2, 24)}
    x, t = batch["x"], batch["timestep"]
    torch.testing.assert_close(model(x, t, **encoded), model(x, t, **conditioning), rtol=0, atol=1e-6)
    model, x, classes = lively(**still), torch.randn(2, 3, 1, 6, 6), {"y": torch.tensor([5, 0])}
    torch.testing.assert_close(model(x, t, **model.encode_text(classes)), model(x, t, **classes), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": torch.zeros(2, 4, 5, 6, 14)}, r"latents of shape \(2, 4, 5, 6, 14\); it takes \(clips, 3, frames"),
        ({"x": torch.zeros(2, 3, 5, 14, 6)}, r"latents of \[5, 14, 6\] .* tables are for \[5, 6, 14\]"),
        ({"timestep": torch.zeros(3)}, r"timestep of shape \(3,\); it takes \(2,\)"),
        ({"y": None}, "got no caption: give y"),
        ({"y": torch.zeros(2, 4, 9)}, r"captions of shape \(2, 4, 9\) for 2 clips; it takes \(2, tokens, 7\)"),
        ({"y": torch.zeros(2, 7)}, r"captions of shape \(2, 7\)"),
        ({"y": torch.zeros(2, 2, 4, 7)}, r"captions of shape \(2, 2, 4, 7\)"),
        ({"mask": torch.ones(2, 3)}, r"caption mask of shape \(2, 3\) .* it takes \(2, 4\)"),
        ({"drop_caption": torch.ones(1, dtype=torch.bool)}, r"drop_caption of shape \(1,\); it takes \(2,\)"),
        ({"text": torch.zeros(2, 7)}, r"text of shape \(2, 7\); it takes \(2, 24\)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(fresh: Make, batch: Batch, changed: Batch, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh()(**{**batch, **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y": None}, "got no classes: give y"),
        ({"y": torch.zeros(2, 4, 7)}, r"y of shape \(2, 4, 7\) in torch.float32 .* whole numbers of shape \(2,\)"),
        ({"y": torch.tensor([1, 2, 3])}, r"y of shape \(3,\)"),
        ({"y": torch.tensor([0, 6])}, r"the classes \[0, 6\]; it takes 0 to 5"),
        ({"y": torch.tensor([-1, 0])}, r"the classes \[-1, 0\]"),
        ({"text": torch.zeros(2, 7)}, r"text of shape \(2, 7\); it takes \(2, 24\)"),
    ],
)
def test_classes_that_do_not_fit_are_refused(
    fresh: Make, still: dict[str, Any], changed: dict[str, Any], message: str
) -> None:
    given = {"x": torch.zeros(2, 3, 1, 6, 6), "timestep": torch.zeros(2), "y": torch.tensor([0, 1])}
    with pytest.raises(UserError, match=message):
        fresh(**still)(**{**given, **changed})


def test_dropping_classes_needs_a_null_class(fresh: Make, still: dict[str, Any]) -> None:
    model, drop = fresh(**still, class_dropout_prob=0.0), torch.tensor([True])
    with pytest.raises(UserError, match=r"no null class .* set class_dropout_prob above 0"):
        model(torch.zeros(1, 3, 1, 6, 6), torch.zeros(1), torch.tensor([0]), drop_caption=drop)


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


def test_a_block_compiles_into_one_graph_for_all_batch_sizes(lively: Make, batch: Batch) -> None:
    model, compiled = lively(), []
    expected = model(**batch)

    def count(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    model.blocks[0].compile(fullgraph=True, backend=count)
    torch.testing.assert_close(model(**batch), expected, rtol=0, atol=1e-6)
    for clips in (3, 5, 4, 1):
        model(**{key: value[:1].expand(clips, *value.shape[1:]) for key, value in batch.items()})
    assert len(compiled) <= 3


@pytest.mark.parametrize("condition", ["text", "label_5"])
def test_nothing_is_read_back_from_the_device(condition: str) -> None:
    """The meta device has no numbers to read."""
    options = DiTOptions(hidden_size=24, depth=2, num_heads=3, input_size=(5, 6, 14), condition=condition)
    with torch.device("meta"):
        model = build(options, Context(text_width=7 if condition == "text" else None))
        x, timestep = torch.empty(2, 4, 5, 6, 14), torch.empty(2)
        y = torch.empty(2, 4, 7) if condition == "text" else torch.empty(2, dtype=torch.int64)
        mask, drop = torch.empty(1, 4, dtype=torch.int64), torch.empty(2, dtype=torch.bool)
        assert model.train()(x, timestep, y, mask, drop_caption=drop).is_meta
        assert model(x, timestep, **model.encode_text({"y": y})).is_meta
        assert model(x, timestep, y).shape == (2, 8, 5, 6, 14)
