"""Which tokens a rank gets, and how it comes to whole sequences of them."""

import pytest
import torch
from vidgen.mesh import ALONE, TokenGroup
from vidgen_layers.packing import places
from vidgen_layers.sharing import Sequences, shared_grid

FOUR = TokenGroup(rank=1, size=4)


@pytest.mark.parametrize(
    ("frames", "tokens", "by_frames"),
    [(8, 15, True), (5, 15, False), (1, 16, False), (5, 1, True), (3, 16, False), (7, 7, True)],
)
def test_the_axis_that_is_padded_less_is_shared(frames: int, tokens: int, by_frames: bool) -> None:
    grid = shared_grid(FOUR, frames, tokens)
    assert (grid.time.length, grid.space.length) == (frames, tokens)
    assert (grid.time.tokens, grid.space.tokens) == ((FOUR, ALONE) if by_frames else (ALONE, FOUR))
    part = grid.part(torch.arange(frames * tokens).view(1, frames, tokens, 1) + 1)
    assert part.shape == ((1, -(-frames // 4), tokens, 1) if by_frames else (1, frames, -(-tokens // 4), 1))


def test_a_part_is_what_follows_that_of_the_rank_before_with_zeros_at_the_end() -> None:
    tokens = torch.arange(1, 6)[None, :, None]
    parts = [Sequences(length=5, tokens=TokenGroup(rank=rank, size=4)).part(tokens).flatten() for rank in range(4)]
    assert [part.tolist() for part in parts] == [[1, 2], [3, 4], [5, 0], [0, 0]]


def test_a_list_of_clips_is_cut_anywhere_and_filled_up_with_its_last_token() -> None:
    """Clips of 3 x 1, 1 x 2 and 1 x 1 patches: 6 tokens for 4 ranks, 2 each."""
    valid = torch.zeros(3, 3, 1, 2, dtype=torch.bool)
    valid[0, :, :, :1] = valid[1, :1] = valid[2, :1, :, :1] = True
    whole = places(valid, (1, 1, 1), torch.device("cpu"))
    groups = [TokenGroup(rank=rank, size=4) for rank in range(4)]
    parts = [whole.part(group) for group in groups]
    assert [part.clip.tolist() for part in parts] == [[0, 0], [0, 1], [1, 2], [2, 2]]
    assert [part.frame.tolist() for part in parts] == [[0, 1], [2, 0], [0, 0], [0, 0]]
    assert [part.column.tolist() for part in parts] == [[0, 0], [0, 0], [1, 0], [0, 0]]
    assert [part.place.tolist() for part in parts] == [[0, 2], [4, 6], [7, 12], [12, 12]]
    assert [whole.clips_of(group) for group in groups] == [(0, [2]), (0, [1, 1]), (1, [1, 1]), (2, [2])]
