"""Which keys count, and what is attended to where none does."""

import pytest
import torch
from torch import Tensor
from vidgen.attention import Sdpa
from vidgen_opensora_plan.counting import attend, best, blank


def test_the_highest_rank_of_a_row_counts() -> None:
    assert best(torch.tensor([[0, 2, 1, 2], [0, 0, 1, 0], [0, 0, 0, 0]])).tolist() == [
        [False, True, False, True],
        [False, False, True, False],
        [True, True, True, True],
    ]


def test_only_rows_in_which_nothing_counts_are_blank() -> None:
    found = blank(torch.tensor([[0, 2, 1], [0, 1, 0], [2, 2, 2], [0, 0, 0]]))
    assert found is not None
    assert found.rows.tolist() == [1, 3]
    assert found.added[:, 0, 0].tolist() == [[-10000, -9980, -10000], [-10000] * 3]
    assert blank(torch.tensor([[0, 2, 1]])) is None
    assert blank(torch.zeros(1, 3, device="meta")) is None


def weights(scores: list[float], ranks: list[int]) -> Tensor:
    """Of keys with such scores for one query, which are read off one-hot values."""
    q, k, v = torch.ones(1, 1, 1, 1), torch.tensor(scores)[None, None, :, None], torch.eye(len(scores))[None, None]
    return attend(Sdpa(), q, k, v, None, blank(torch.tensor([ranks])))[0, 0, 0]


@pytest.mark.parametrize(
    ("scores", "kept"),
    [([0.0003, 0.0006, 0.0016], [0.0, 2**-10, 2 * 2**-10]), ([1.0, 1.00001, -2.0], [1.0, 1.0, -2.0])],
)
def test_scores_of_what_does_not_count_are_multiples_of_1_1024(scores: list[float], kept: list[float]) -> None:
    """Next to 10000, numbers of single precision are 2 ** -10 apart."""
    torch.testing.assert_close(weights(scores, [0, 0, 0]), torch.tensor(kept).softmax(0), rtol=0, atol=1e-7)


def test_zeros_that_fill_up_outweigh_tokens_by_20() -> None:
    torch.testing.assert_close(weights([18.0, 0.0], [0, 1]), torch.tensor([18.0, 20.0]).softmax(0), rtol=0, atol=1e-7)
