"""Positions in clips of any size."""

import pytest
import torch
from vidgen_layers.positions import rotate, rotation
from vidgen_stdit.positions import FramePositions, RotaryPositions, rotary_start, spatial_frequencies


def table(*, height: float, width: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Of a grid of 3 rows and 7 columns, width 24."""
    positions = FramePositions(24, 32)
    positions.frequencies = spatial_frequencies(24)
    return positions.to(dtype)(rows=3, columns=7, height=torch.tensor([height]), width=torch.tensor([width]))


def test_the_table_puts_the_column_first_and_sines_before_cosines() -> None:
    row, column, base, scale = 2, 5, 5, (48 * 96) ** 0.5 / 32  # base: of 4.58
    place = table(height=48, width=96)[row * 7 + column]
    along = torch.tensor([column / scale * base / 7, row / scale * base / 3])
    assert place[1] == pytest.approx(torch.sin(along[0] * 10000 ** (-1 / 6)).item(), abs=1e-6)
    assert place[6 + 2] == pytest.approx(torch.cos(along[0] * 10000 ** (-2 / 6)).item(), abs=1e-6)
    assert place[12 + 3] == pytest.approx(torch.sin(along[1] * 10000 ** (-3 / 6)).item(), abs=1e-6)
    assert place[18] == pytest.approx(torch.cos(along[1]).item(), abs=1e-6)


def test_only_the_area_in_pixels_counts() -> None:
    torch.testing.assert_close(table(height=48, width=96), table(height=72, width=64), rtol=0, atol=1e-6)


def test_frequencies_are_rounded_with_the_model_and_the_table_is_not() -> None:
    exact, rounded = table(height=32, width=32), table(height=32, width=32, dtype=torch.bfloat16)
    assert rounded.dtype == torch.float32
    assert torch.equal(exact[:, 0], rounded[:, 0])  # of the frequency 1
    assert not torch.equal(exact[:, 1], rounded[:, 1])


def test_rotary_frequencies_are_saved_and_never_trained() -> None:
    positions = RotaryPositions(8)
    with torch.no_grad():
        rotary_start(positions.freqs, torch.Generator())
    assert list(positions.state_dict()) == ["freqs"]
    assert not positions.freqs.requires_grad
    torch.testing.assert_close(positions.freqs.data, torch.tensor([1, 0.1, 0.01, 0.001]))
    torch.testing.assert_close(positions(3).cos[2], torch.tensor([2, 0.2, 0.02, 0.002]).cos())


@pytest.mark.parametrize("compiled", [False, True])
def test_a_rotation_turns_pairs_of_adjacent_channels(compiled: bool) -> None:
    turn = torch.compile(rotate, fullgraph=True, backend="eager") if compiled else rotate
    by = rotation(torch.tensor([1.0, 0.1, 0.01]), 5, torch.float32)
    q = torch.randn(2, 5, 3, 4, 6).permute(2, 0, 3, 1, 4)[0]  # queries as self attention has them: not contiguous
    turned = turn(q, by)
    for i, angle in enumerate((3.0, 0.3, 0.03)):
        matrix = torch.tensor([[torch.tensor(angle).cos(), -torch.tensor(angle).sin()], [0, 0]])
        matrix[1] = torch.stack([-matrix[0, 1], matrix[0, 0]])
        expected = q[:, :, 3, 2 * i : 2 * i + 2] @ matrix.T
        torch.testing.assert_close(turned[:, :, 3, 2 * i : 2 * i + 2], expected, rtol=0, atol=1e-6)
    assert turn(q.bfloat16(), by).dtype == torch.bfloat16
