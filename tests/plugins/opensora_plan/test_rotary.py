"""Rotary positions in three dimensions."""

import math

import pytest
import torch
from torch import Tensor
from vidgen_opensora_plan.rotary import rotate, rotation

CPU = torch.device("cpu")
GRID = (4, 3, 5)


def token(frame: int, row: int, column: int) -> int:
    return (frame * GRID[1] + row) * GRID[2] + column


def turned(q: Tensor, at: int, scales: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Tensor:
    """q: (E,), as if it were the query of token `at`."""
    whole = q.expand(1, math.prod(GRID), 1, -1)
    return rotate(whole, rotation(GRID, scales, len(q), CPU))[0, at, 0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_third_of_a_head_turns_with_its_axis(axis: int) -> None:
    """Halves of a third are pairs: number j and number j + d / 2 turn by position * 10000^(-2 j / d), d = 4."""
    q = torch.zeros(12)
    q[4 * axis + 1] = 1.0
    position, scale = (3, 2, 4)[axis], (2.0, 1.5, 0.75)
    made = turned(q, token(3, 2, 4), scale)
    angle = position / scale[axis] / 100
    wanted = torch.zeros(12)
    wanted[4 * axis + 1], wanted[4 * axis + 3] = math.cos(angle), math.sin(angle)
    torch.testing.assert_close(made, wanted, rtol=0, atol=1e-6)


def test_products_depend_on_distances_alone() -> None:
    q, k = torch.randn(2, 12, generator=torch.Generator().manual_seed(1))
    near = turned(q, token(0, 1, 0)) @ turned(k, token(1, 0, 2))
    far = turned(q, token(2, 2, 2)) @ turned(k, token(3, 1, 4))
    assert near.item() == pytest.approx(far.item(), abs=1e-5)
    assert near.item() != pytest.approx((q @ k).item(), abs=1e-2)


def test_a_type_is_kept() -> None:
    q = torch.randn(1, math.prod(GRID), 2, 12).bfloat16()
    assert rotate(q, rotation(GRID, (1.0, 1.0, 1.0), 12, CPU)).dtype == torch.bfloat16
