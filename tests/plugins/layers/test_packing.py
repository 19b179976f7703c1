"""Clips of different sizes as one list of tokens: where each comes from, and gradients of moving them about."""

import pytest
import torch
from torch import Tensor
from vidgen import UserError
from vidgen_layers.attention import CrossAttention, SelfAttention
from vidgen_layers.packing import places, reorder, spread
from vidgen_layers.positions import Rotation, rotary_frequencies, rotation

CPU = torch.device("cpu")
CLIPS = [(2, 3, 4), (1, 5, 2)]
"""Latent (T, H, W); in patches of (1, 2, 2) they are 2 x 2 x 2 and 1 x 3 x 1."""


def valid() -> Tensor:
    boxes = torch.zeros(2, 2, 5, 4, dtype=torch.bool)
    for row, size in zip(boxes, CLIPS, strict=True):
        row[tuple(map(slice, size))] = True
    return boxes


def test_tokens_come_clip_by_clip_frame_by_frame_row_by_row() -> None:
    found = places(valid(), (1, 2, 2), CPU)
    assert found.grids == ((2, 2, 2), (1, 3, 1))
    assert found.clip.tolist() == [0] * 8 + [1] * 3
    assert found.frame.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0]
    assert found.row.tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 0, 1, 2]
    assert found.column.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0]
    whole = torch.arange(2 * 2 * 3 * 2).view(2, 2, 3, 2)  # clips, frames, rows, columns of the padded batch
    assert torch.equal(found.place, whole[found.clip, found.frame, found.row, found.column])


def test_frames_of_a_position_follow_each_other_in_the_order_by_frame() -> None:
    found = places(valid(), (1, 2, 2), CPU)
    assert found.by_frame.tolist() == [0, 4, 1, 5, 2, 6, 3, 7, 8, 9, 10]
    assert torch.equal(found.by_frame[found.back], torch.arange(11))
    assert found.within_frames().runs == ((2, 4, 4), (1, 3, 3))
    assert found.across_frames().runs == ((4, 2, 2), (3, 1, 1))
    assert found.to_captions(5, None).runs == ((1, 8, 5), (1, 3, 5))


@pytest.mark.parametrize("hole", [(0, 0, 0, 0), (0, 1, 2, 3), (1,)])
def test_what_is_no_box_at_the_origin_is_refused(hole: tuple[int, ...]) -> None:
    holed = valid()
    holed[hole] = False
    with pytest.raises(UserError, match=f"no box at the origin for clip {hole[0]}"):
        places(holed, (1, 2, 2), CPU)


def test_moving_tokens_about_has_the_gradients_of_indexing() -> None:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    h = torch.randn(5, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    index, order = torch.tensor([2, 0, 0, 2, 2]), torch.tensor([3, 0, 4, 1, 2])
    assert torch.equal(spread(vectors, index), vectors[index])
    assert torch.equal(reorder(h, order, order.argsort()), h[order])
    assert torch.autograd.gradcheck(lambda v: spread(v, index), vectors)
    assert torch.autograd.gradcheck(lambda x: reorder(x, order, order.argsort()), h)


@pytest.mark.parametrize("qk_norm", [True, False])
def test_attention_over_packed_sequences_is_that_of_each(qk_norm: bool) -> None:
    attend, found = SelfAttention(12, 3, qk_norm=qk_norm), places(valid(), (1, 2, 2), CPU)
    h, turn = torch.randn(11, 12), rotation(rotary_frequencies(4), 4, torch.float32)
    positions = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2])
    packed = attend.packed(h, found.within_frames(), Rotation(turn.cos[positions], turn.sin[positions]))
    for part, length in ((slice(0, 4), 4), (slice(4, 8), 4), (slice(8, 11), 3)):
        own = Rotation(turn.cos[:length], turn.sin[:length])
        torch.testing.assert_close(packed[part], attend(h[None, part], own)[0])


def test_packed_clips_look_at_their_own_captions() -> None:
    attend, found = CrossAttention(12, 3), places(valid(), (1, 2, 2), CPU)
    h, text = torch.randn(11, 12), torch.randn(2, 5, 12)
    mask = torch.tensor([[1, 1, 0, 1, 0], [0, 1, 0, 0, 0]])
    packed = attend.packed(h, text, found.to_captions(5, mask))
    for part, clip in ((slice(0, 8), 0), (slice(8, 11), 1)):
        own = text[clip : clip + 1, mask[clip].bool()]
        torch.testing.assert_close(packed[part], attend(h[None, part], own, None)[0])
