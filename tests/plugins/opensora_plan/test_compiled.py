"""Blocks under torch.compile: code is made for the first sizes and serves all others, of every kind of block."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

Make = Callable[..., nn.Module]
Batch = dict[str, Tensor]
FIRST = [(4, 8, 8), (4, 8, 16)]
OTHERS = [(3, 10, 6), (1, 6, 10), (7, 10, 10), (2, 6, 6), (5, 6, 14)]
"""Of tokens that 16 divides or not, whose sub-sequences have two lengths or three."""


@pytest.fixture
def counter() -> CompileCounter:
    torch._dynamo.reset()
    return CompileCounter()


@pytest.mark.parametrize("name", ["t2v", "inpaint"])
def test_sizes_and_padding_share_their_code(lively: Make, batch: Batch, counter: CompileCounter, name: str) -> None:
    model, plain = lively(name), lively(name)
    for block in model.repeated_blocks():
        block.compile(backend=counter)

    def agree(size: tuple[int, int, int], rows: int) -> None:
        """rows: of the second clip that are no padding."""
        valid = torch.ones(2, *size, dtype=torch.bool)
        valid[1, :, rows:] = False
        inputs = {**batch, "x": torch.randn(2, 3, *size), "valid": valid}
        torch.testing.assert_close(model(**inputs), plain(**inputs), rtol=0, atol=1e-3)

    for size in FIRST:
        agree(size, size[1])
        agree(size, 2)
    made = counter.frame_count
    for size in OTHERS:
        agree(size, size[1])
        agree(size, 4)
    assert counter.frame_count == made
