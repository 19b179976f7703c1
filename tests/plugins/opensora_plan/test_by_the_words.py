"""The model beside its specification written out, where no recorded case looks."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import torch
from plain_opensora_plan import predict
from torch import Tensor, nn

Make = Callable[..., nn.Module]
Batch = dict[str, Any]
Change = Callable[[Batch], None]


def wide(batch: Batch) -> None:
    """2 x 12 latents more columns than tokens can be dealt evenly."""
    batch["x"] = torch.randn(2, 3, 2, 8, 16, generator=torch.Generator().manual_seed(3))
    batch["attention_mask"] = torch.ones(2, 2, 8, 16)


def half_a_clip(batch: Batch) -> None:
    batch["attention_mask"][0, :, :, 6:] = 0
    batch["attention_mask"][1, -1] = 0
    batch["attention_mask"][1, 0, 3, 9] = 0  # others of its patch count


def columns_of_whole_parts(batch: Batch) -> None:
    """8 columns of tokens, the last 3 of which are padding: parts of every fourth token hold some of each kind."""
    wide(batch)
    batch["attention_mask"][:, :, :, 10:] = 0


def parts_without_a_token(batch: Batch) -> None:
    """4 columns of tokens, the last two of which are padding: two of four parts have nothing else."""
    wide(batch)
    batch["x"] = batch["x"][..., :8]
    batch["attention_mask"] = batch["attention_mask"][..., :8]
    batch["attention_mask"][:, :, :, 4:] = 0


def a_clip_of_padding(batch: Batch) -> None:
    batch["attention_mask"][1] = 0


def captions_with_holes(batch: Batch) -> None:
    batch["mask"] = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 1]])


def a_caption_of_padding(batch: Batch) -> None:
    batch["mask"][1] = 0


def only_captions_of_padding(batch: Batch) -> None:
    batch["mask"][:] = 0


def sizes_that_leave_rows_and_columns(batch: Batch) -> None:
    batch["x"] = torch.randn(2, 3, 2, 7, 11, generator=torch.Generator().manual_seed(4))
    batch["attention_mask"] = torch.ones(2, 2, 7, 11)
    batch["attention_mask"][0, :, 4:] = 0


def few_tokens(batch: Batch) -> None:
    """An image of 3 tokens, fewer than parts."""
    batch["x"], batch["attention_mask"] = batch["x"][:, :, :1, :2, :6], torch.ones(2, 1, 2, 6)
    batch["attention_mask"][1, :, :, 2:] = 0


def times_between(batch: Batch) -> None:
    batch["timestep"] = torch.tensor([998.75, 0.25])


CHANGES = (
    half_a_clip,
    columns_of_whole_parts,
    captions_with_holes,
    sizes_that_leave_rows_and_columns,
    few_tokens,
    times_between,
)
WITHOUT = (parts_without_a_token, a_clip_of_padding, a_caption_of_padding, only_captions_of_padding)
OPTIONS: dict[str, Batch] = {
    "as it is": {},
    "gated": {"activation_fn": "geglu"},
    "learned norms": {"norm_elementwise_affine": True, "norm_eps": 1e-2},
    "no bias": {"attention_bias": False},
    "dense": {"sparse1d": False},
    "one part": {"sparse_n": 1},
    "2 parts": {"sparse_n": 2},
    "7 parts": {"sparse_n": 7},
    "scales": {"interpolation_scale_t": 2.0, "interpolation_scale_h": 0.5, "interpolation_scale_w": 0.75},
    "blocks beyond the sparse ones": {"num_layers": 33, "num_attention_heads": 1},
    "large patches": {"patch_size": 4},
    "single latents": {"patch_size": 1},
    "twice the channels": {"out_channels": 6},
}
ROUNDING = 1e-5
"""Of the largest number."""
DIGITS_OF_10000 = 1e-3
"""A score that is rounded the other way changes a weight by a thousandth of itself."""


def both(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The model's prediction, of what whole patches take up, and the specification's."""
    options = attrs.asdict(model.options)
    side = options["patch_size"]
    rows, columns = (size // side * side for size in batch["x"].shape[3:])
    cut = {key: batch[key][..., :rows, :columns] for key in ("x", "attention_mask")}
    with torch.no_grad():
        return model(**{**batch, **cut}), predict(model.state_dict(), options, batch)


def apart(made: Tensor, wanted: Tensor) -> Tensor:
    """Differences as shares of the largest number."""
    assert made.shape == wanted.shape
    return (made - wanted).abs() / wanted.abs().max()


@pytest.fixture
def given(batch: Batch) -> Batch:
    """The batch with an attention mask of ones."""
    return {**batch, "attention_mask": torch.ones(2, 3, 4, 10)}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("change", [half_a_clip, sizes_that_leave_rows_and_columns])
def test_every_option_does_what_its_sentence_says(lively: Make, given: Batch, options: Batch, change: Change) -> None:
    change(given)
    assert apart(*both(lively(**options), given)).max() < ROUNDING


@pytest.mark.parametrize("change", CHANGES)
def test_every_input_is_taken_as_its_sentence_says(lively: Make, given: Batch, change: Change) -> None:
    change(given)
    assert apart(*both(lively(num_layers=6, sparse_n=4), given)).max() < ROUNDING


@pytest.mark.parametrize("options", [{}, {"sparse1d": False}], ids=["sparse", "dense"])
@pytest.mark.parametrize("change", WITHOUT)
def test_where_nothing_counts_scores_keep_the_digits_that_10000_leaves(
    lively: Make, given: Batch, options: Batch, change: Change
) -> None:
    """So few scores are rounded the other way that all but a few numbers are equal."""
    change(given)
    differences = apart(*both(lively(num_layers=6, sparse_n=4, **options), given))
    assert differences.max() < DIGITS_OF_10000
    assert differences.median() < ROUNDING
