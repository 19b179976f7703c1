"""OpenSoraT2V_v1_3: sparse and dense, captions, padding, sizes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from vidgen import UserError

Make = Callable[..., nn.Module]
Batch = dict[str, Tensor]
CLIPS = [(3, 4, 10), (2, 3, 6)]
"""Latent frames, rows and columns of clips in one batch; three rows fill no whole patch."""


def same(made: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-4)


@pytest.fixture
def padded(batch: Batch) -> Batch:
    """The batch with clips of `CLIPS`, and which of their latents are no padding."""
    valid = torch.zeros(2, 3, 4, 10, dtype=torch.bool)
    for row, (frames, rows, columns) in zip(valid, CLIPS, strict=True):
        row[:frames, :rows, :columns] = True
    return {**batch, "x": torch.where(valid[:, None], batch["x"], float("nan")), "valid": valid}


def alone(model: nn.Module, batch: Batch, row: int) -> Tensor:
    """The prediction of one clip of `CLIPS`, without the others and without padding."""
    frames, rows, columns = CLIPS[row]
    one = {key: value[row : row + 1] for key, value in batch.items() if key != "valid"}
    return model(**{**one, "x": one["x"][:, :, :frames, :rows, :columns]})


def test_one_part_is_dense(lively: Make, batch: Batch) -> None:
    dense = lively(sparse1d=False)
    assert torch.equal(dense(**batch), lively(sparse_n=1)(**batch))
    assert not torch.allclose(dense(**batch), lively(sparse_n=2)(**batch), atol=1e-3)


def test_blocks_2_to_29_are_sparse_of_both_kinds_in_turn(fresh: Make) -> None:
    model = fresh(num_layers=33, sparse_n=3)
    dense, skip, group = (1, 1), (3, 1), (3, 3)
    assert model.dealings == (dense, dense, *[skip, group] * 14, dense, dense, dense)


@pytest.mark.parametrize("sparse_n", [2, 3, 4])
@pytest.mark.parametrize("size", [(3, 4, 10), (1, 2, 4), (2, 5, 7), (1, 1, 1)])
def test_any_size_is_predicted(lively: Make, batch: Batch, size: tuple[int, ...], sparse_n: int) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(2))
    model = lively(sparse_n=sparse_n)
    made = model(**{**batch, "x": x})
    assert made.shape == x.shape
    assert made.dtype == torch.float32
    same(made[:1], model(**{key: value[:1] for key, value in {**batch, "x": x}.items()}))


def test_frames_of_other_places_reach_each_other_through_sparse_blocks(lively: Make, batch: Batch) -> None:
    """A block of each kind lets every token see every other."""
    model, x = lively(num_layers=4), batch["x"].clone().requires_grad_()
    model(**{**batch, "x": x})[0, 0, 2, 3, 9].backward()
    assert x.grad is not None
    assert x.grad[0].any(0).all()
    assert not x.grad[1].any()


def test_caption_tokens_that_do_not_count_do_not_matter(lively: Make, batch: Batch) -> None:
    model, y = lively(), batch["y"].clone()
    y[0, 2] = 9.0
    y[1, 1:] = -9.0
    same(model(**{**batch, "y": y}), model(**batch))


def test_a_caption_mask_of_ones_is_none(lively: Make, batch: Batch) -> None:
    model = lively()
    assert torch.equal(model(**{**batch, "mask": torch.ones(2, 4)}), model(**{**batch, "mask": None}))


def test_a_caption_without_a_token_that_counts_counts_as_a_whole(lively: Make, batch: Batch) -> None:
    """With three digits of its scores; see test_counting."""
    model = lively()
    empty = model(**{**batch, "mask": torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0]])})
    full = model(**{**batch, "mask": torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])})
    torch.testing.assert_close(empty, full, rtol=0, atol=3e-3)
    assert torch.equal(empty[1], full[1])


def test_fewer_rows_of_a_mask_are_repeated(lively: Make, batch: Batch) -> None:
    model = lively()
    row = torch.tensor([[1, 0, 1, 0]])
    assert torch.equal(model(**{**batch, "mask": row}), model(**{**batch, "mask": row.repeat(2, 1)}))


def test_captions_encoded_before_give_the_same(lively: Make, batch: Batch) -> None:
    model = lively()
    given = {"y": batch["y"][:, None], "mask": batch["mask"]}
    encoded = model.encode_text(given)
    assert encoded.keys() == {"text", "mask"}
    same(model(batch["x"], batch["timestep"], **encoded), model(**batch))
    assert model.null_conditioning(given) is None


@pytest.mark.parametrize("options", [{"sparse1d": False}, {"sparse_n": 2}, {"sparse_n": 3}])
@pytest.mark.parametrize("row", [0, 1])
def test_a_clip_in_a_padded_batch_is_treated_as_alone(lively: Make, padded: Batch, options: Batch, row: int) -> None:
    """Also by sparse blocks, which would deal the padded grid otherwise."""
    model = lively(**options)
    frames, rows, columns = CLIPS[row]
    made = model(**padded)
    assert made.shape == padded["x"].shape
    same(made[row : row + 1, :, :frames, :rows, :columns], alone(model, padded, row))


def test_padding_has_no_gradient(lively: Make, padded: Batch) -> None:
    model, x = lively(), padded["x"].clone().requires_grad_()
    made = model(**{**padded, "x": x})
    made[padded["valid"][:, None].expand_as(made)].sum().backward()
    assert x.grad is not None
    assert not x.grad[1, :, 2].any()
    assert x.grad[1, :, :2, :3, :6].all()


def test_masks_in_which_all_counts_change_nothing(lively: Make, batch: Batch) -> None:
    model, ones = lively(), torch.ones(2, 3, 4, 10)
    assert torch.equal(model(**batch, valid=ones.bool()), model(**batch))
    assert torch.equal(model(**batch, attention_mask=ones), model(**batch))


def test_an_attention_mask_hides_latents_but_deals_the_whole_grid(lively: Make, padded: Batch) -> None:
    padded["x"].nan_to_num_(0.0)
    valid = padded.pop("valid")
    frames, rows, columns = CLIPS[1]
    dense, sparse = lively(sparse1d=False), lively()
    own = (slice(1, 2), slice(None), slice(frames), slice(rows), slice(columns))
    same(dense(**padded, attention_mask=valid)[own], alone(dense, padded, 1))
    assert not torch.allclose(sparse(**padded, attention_mask=valid)[own], alone(sparse, padded, 1), atol=1e-3)
    hidden = {**padded, "x": torch.where(valid[:, None], padded["x"], 7.0)}
    hidden["x"][1, :, :frames, 3:4] = padded["x"][1, :, :frames, 3:4]  # of a patch that counts
    same(sparse(**hidden, attention_mask=valid)[own], sparse(**padded, attention_mask=valid)[own])


def test_dropout_acts_in_training_alone(lively: Make, batch: Batch) -> None:
    model = lively(dropout=0.5)
    assert torch.equal(model(**batch), lively()(**batch))
    assert not torch.equal(model.train()(**batch), lively()(**batch))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 4, 3, 4, 10)}, r"latents of shape \(2, 4, 3, 4, 10\); it takes \(clips, 3, "),
        ({"x": torch.zeros(2, 3, 4, 10)}, "latents of shape"),
        ({"timestep": torch.zeros(3)}, "timestep of shape"),
        ({"y": torch.zeros(2, 4, 8)}, r"captions of shape \(2, 4, 8\) for 2 clips; it takes \(2, tokens, 7\)"),
        ({"y": None}, "the model got no caption"),
        ({"mask": torch.ones(2, 5)}, "a caption mask of shape"),
        ({"valid": torch.ones(2, 3, 4, 9).bool()}, r"valid of shape \(2, 3, 4, 9\); it takes \(2, 3, 4, 10\)"),
        ({"attention_mask": torch.ones(2, 3)}, r"attention_mask of shape \(2, 3\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(fresh: Make, batch: Batch, change: Batch, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fresh()(**{**batch, **change})
