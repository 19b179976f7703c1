"""STDiT's forward pass: what it takes, gives and refuses."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from vidgen import UserError
from vidgen_stdit.stdit1 import STDiT

Make = Callable[..., STDiT]
Batch = dict[str, Tensor]


def test_output_has_twice_the_channels_with_a_variance_and_is_float32(lively: Make, batch: Batch) -> None:
    assert lively()(**batch).shape == (2, 6, 5, 6, 14)
    assert lively(pred_sigma=False)(**batch).shape == (2, 3, 5, 6, 14)
    half = lively().bfloat16()(**batch)
    assert half.dtype == torch.float32
    assert half.isfinite().all()


def test_bfloat16_stays_near_float32(lively: Make, batch: Batch) -> None:
    batch["timestep"] = torch.tensor([12.5, 728.0])  # the same number in both
    exact = lively()(**batch)
    assert (lively().bfloat16()(**batch) - exact).norm() < 0.05 * exact.norm()


def test_a_batch_of_two_gives_what_single_clips_give(lively: Make, batch: Batch) -> None:
    model = lively()
    x_mask = torch.tensor([[True, False, True, True, False], [False, True, True, False, True]])
    together = model(**batch, x_mask=x_mask)
    alone = [model(**{k: v[i : i + 1] for k, v in batch.items()}, x_mask=x_mask[i : i + 1]) for i in (0, 1)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-4)


def test_an_x_mask_that_is_true_everywhere_changes_nothing(lively: Make, batch: Batch) -> None:
    model = lively()
    masked = model(**batch, x_mask=torch.ones(2, 5, dtype=torch.bool))
    torch.testing.assert_close(masked, model(**batch), rtol=0, atol=1e-5)


def test_given_frames_do_not_feel_the_timestep_of_their_own_modulation(lively: Make, batch: Batch) -> None:
    """With all frames given, the timestep acts through the temporal gate and the first final modulation alone."""
    model = lively()
    model.blocks[0].attn_temp.proj.weight.data.zero_()
    model.blocks[0].attn_temp.proj.bias.data.zero_()
    seen = []
    model.blocks[0].mlp.register_forward_hook(lambda module, args, out: seen.append(out))
    given = torch.zeros(2, 5, dtype=torch.bool)
    for timestep in (torch.tensor([3.0, 4.0]), torch.tensor([500.0, 900.0])):
        model(**{**batch, "timestep": timestep}, x_mask=given)
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=0)


def test_masked_caption_tokens_have_no_influence(lively: Make, batch: Batch) -> None:
    model = lively()
    changed = torch.where(batch["mask"][:, :, None] == 1, batch["y"], 100.0)
    torch.testing.assert_close(model(**{**batch, "y": changed}), model(**batch), rtol=0, atol=1e-5)


def test_mask_rows_are_repeated_for_guidance(lively: Make, batch: Batch) -> None:
    """Row i of the batch uses mask row i modulo the number of rows: both halves get the masks of the real captions."""
    model = lively()
    doubled = {key: torch.cat([value, value]) for key, value in batch.items()}
    torch.testing.assert_close(model(**{**doubled, "mask": batch["mask"]}), model(**doubled), rtol=0, atol=1e-6)


def test_captions_may_have_a_spare_axis_and_fewer_tokens(lively: Make, batch: Batch) -> None:
    model = lively()
    torch.testing.assert_close(model(**{**batch, "y": batch["y"][:, None]}), model(**batch), rtol=0, atol=0)
    shorter = {**batch, "y": batch["y"][:, :2], "mask": batch["mask"][:, :2]}
    padded = {**batch, "mask": torch.cat([batch["mask"][:, :2], torch.zeros(2, 2, dtype=torch.int64)], dim=1)}
    torch.testing.assert_close(model(**shorter), model(**padded), rtol=0, atol=1e-5)


def test_dropped_captions_equal_the_null_conditioning(lively: Make, batch: Batch) -> None:
    model = lively()
    conditioning = {"y": batch["y"][:, :3], "mask": batch["mask"][:, :3]}
    null = model.null_conditioning(conditioning)
    assert torch.equal(null["y"][1], model.y_embedder.y_embedding[:3])
    assert null["mask"] is conditioning["mask"]
    dropped = model(batch["x"], batch["timestep"], **conditioning, drop_caption=torch.tensor([True, False]))
    mixed = torch.stack([null["y"][0], conditioning["y"][1]])
    expected = model(batch["x"], batch["timestep"], mixed, mask=conditioning["mask"])
    torch.testing.assert_close(dropped, expected, rtol=0, atol=1e-6)


def test_null_conditioning_has_the_shape_and_type_of_the_captions(lively: Make, batch: Batch) -> None:
    y = batch["y"][:, None].bfloat16()
    null = lively().null_conditioning({"y": y})["y"]
    assert null.shape == y.shape
    assert null.dtype == y.dtype


@pytest.mark.parametrize(("rate", "same_as"), [(1.0, "null"), (0.0, "real")])
def test_captions_are_dropped_in_training_alone(lively: Make, batch: Batch, rate: float, same_as: str) -> None:
    model = lively(class_dropout_prob=rate)
    real = model(**batch)
    null = model(**{**batch, **model.null_conditioning({"y": batch["y"]})})
    assert (real - null).abs().max() > 1e-3
    expected = {"null": null, "real": real}[same_as]
    torch.testing.assert_close(model.train()(**batch), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(model(**batch, drop_caption=torch.tensor([False, False])), real, rtol=0, atol=1e-6)


def test_stochastic_depth_acts_in_training_alone_and_never_in_the_first_block(lively: Make, batch: Batch) -> None:
    model = lively(drop_path=0.9, class_dropout_prob=0.0)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0, 0.9])
    torch.testing.assert_close(model(**batch), lively()(**batch), rtol=0, atol=0)
    kept = torch.stack([model.blocks[1].drop_path.train()(torch.ones(64, 1, 2)) for _ in range(8)])
    assert kept.unique().tolist() == pytest.approx([0, 10])
    assert torch.equal(kept[..., 0], kept[..., 1])


def test_time_positions_enter_the_first_block_alone(lively: Make, batch: Batch) -> None:
    """Frames that are equal stay equal in every block but through the first one's temporal attention."""
    model = lively()
    still = {**batch, "x": batch["x"][:, :, :1].expand(-1, -1, 5, -1, -1)}
    out = model(**still)
    assert (out[:, :, 0] - out[:, :, 3]).abs().max() > 1e-4
    model.pos_embed_temporal.zero_()
    out = model(**still)
    torch.testing.assert_close(out[:, :, 0], out[:, :, 3], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": torch.zeros(2, 4, 5, 6, 14)}, r"latents of shape \(2, 4, 5, 6, 14\); it takes \(clips, 3, frames"),
        ({"x": torch.zeros(2, 3, 5, 6)}, r"latents of shape \(2, 3, 5, 6\)"),
        ({"x": torch.zeros(2, 3, 5, 14, 6)}, r"latents of \[5, 14, 6\] .* tables are for \[5, 6, 14\]"),
        ({"timestep": torch.zeros(3)}, r"timestep of shape \(3,\); it takes \(2,\)"),
        ({"y": torch.zeros(2, 4, 9)}, r"captions of shape \(2, 4, 9\) for 2 clips; it takes \(2, tokens, 7\)"),
        ({"y": torch.zeros(2, 2, 4, 7)}, r"captions of shape \(2, 2, 4, 7\)"),
        ({"mask": torch.ones(2, 3)}, r"caption mask of shape \(2, 3\) .* it takes \(2, 4\)"),
        ({"mask": torch.ones(3, 4)}, r"caption mask of shape \(3, 4\)"),
        ({"x_mask": torch.ones(2, 4, dtype=torch.bool)}, r"x_mask of shape \(2, 4\); it takes \(2, 5\)"),
        ({"drop_caption": torch.ones(1, dtype=torch.bool)}, r"drop_caption of shape \(1,\); it takes \(2,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(fresh: Make, batch: Batch, changed: Batch, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh()(**{**batch, **changed})


def test_captions_longer_than_the_null_caption_are_taken_but_cannot_be_dropped(lively: Make, batch: Batch) -> None:
    model = lively()
    long = {**batch, "y": torch.randn(2, 6, 7), "mask": torch.ones(2, 6)}
    assert model(**long).isfinite().all()
    with pytest.raises(UserError, match="captions have 6 tokens, the model's null caption has 4"):
        model(**long, drop_caption=torch.tensor([True, False]))
    with pytest.raises(UserError, match="captions have 6 tokens"):
        model.null_conditioning({"y": long["y"]})


def test_a_block_compiles_into_one_graph(lively: Make, batch: Batch) -> None:
    model = lively()
    x_mask = torch.tensor([[True, False, True, True, False], [False, True, True, False, True]])
    expected = model(**batch, x_mask=x_mask)
    for block in model.repeated_blocks():
        block.compile(fullgraph=True, backend="eager")
    torch.testing.assert_close(model(**batch, x_mask=x_mask), expected, rtol=0, atol=1e-6)


def test_every_parameter_learns(lively: Make, batch: Batch) -> None:
    model = lively()
    model(**batch).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []
