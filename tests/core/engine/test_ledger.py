"""Tensors are counted as they come and go."""

import pytest
import torch
from torch import nn
from vidgen.engine.ledger import Ledger

FLOAT = 4


def test_what_is_made_counts_until_it_is_gone() -> None:
    with Ledger(1e9) as ledger:
        x = torch.zeros(3, 5)
        y = x + 1
        assert ledger.bytes == 2 * 15 * FLOAT
        del x
        assert ledger.bytes == 15 * FLOAT
    del y
    assert ledger.bytes == 0


def test_views_and_changes_in_place_count_nothing() -> None:
    before = torch.zeros(7, 2)
    with Ledger(1e9) as ledger:
        before.add_(1)
        kept = before.t()[1:], before.view(2, 7)
        assert ledger.bytes == 0 and kept


@pytest.mark.parametrize("batch", [3, 30])
def test_what_the_backward_pass_needs_counts_until_it_is_through(batch: int) -> None:
    """Two layers keep the clips, what is between them, and gelu's input; then there are gradients of the weights."""
    network = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 2))
    with Ledger(1e9) as ledger:
        loss = network(torch.ones(batch, 5)).sum()
        assert ledger.bytes == (batch * (5 + 7 + 7) + 1) * FLOAT
        loss.backward()
        del loss
        assert ledger.bytes == sum(p.numel() for p in network.parameters()) * FLOAT
    network.zero_grad(set_to_none=True)
    assert ledger.bytes == 0


def test_beyond_the_limit_is_an_error_also_in_the_backward_pass() -> None:
    """Forward there are 6 x 10 numbers and a sum; backward 10 x 10 more."""
    weight = torch.ones(10, 10, requires_grad=True)
    with pytest.raises(MemoryError, match="bytes of tensors"), Ledger((60 + 60 + 20) * FLOAT):
        loss = (torch.ones(6, 10) @ weight).sum()
        assert loss.item() == 600
        loss.backward()
        raise AssertionError("nothing was refused")
