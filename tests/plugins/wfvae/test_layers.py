"""What layers see of the past, and what they remember of it."""

import pytest
import torch
from vidgen_wfvae.chunks import Chunk, spans
from vidgen_wfvae.layers import CausalConv3d, Doubling, FrameAttention, FrameResBlock, Halving, Kind, ResBlock

GROUPS, LAYERS = Kind(norm_type="groupnorm", dropout=0.0), Kind(norm_type="layernorm", dropout=0.0)


def in_chunks(layer, x, step):
    memory, parts = {}, list(spans(x.shape[2], step))
    return torch.cat(
        [layer(x[:, :, a:b], Chunk(first=a == 0, last=b == x.shape[2], memory=memory)) for a, b in parts], dim=2
    )


def test_chunks_are_one_frame_and_then_as_many_as_asked():
    assert list(spans(1, 4)) == [(0, 1)]
    assert list(spans(10, 4)) == [(0, 1), (1, 5), (5, 9), (9, 10)]


@torch.no_grad()
@pytest.mark.parametrize("layer", [CausalConv3d(2, 3), CausalConv3d(2, 3, stride=2), Halving(2)], ids=str)
def test_a_layer_sees_no_later_frame_and_remembers_earlier_ones(layer):
    x = torch.randn(2, 2, 9, 4, 6)
    whole = layer(x, Chunk())
    torch.testing.assert_close(layer(x[:, :, :5], Chunk()), whole[:, :, : layer(x[:, :, :5], Chunk()).shape[2]])
    torch.testing.assert_close(in_chunks(layer, x, 2), whole)
    torch.testing.assert_close(in_chunks(layer, x, 4), whole)


@torch.no_grad()
def test_before_a_clip_stands_its_first_frame():
    layer, x = CausalConv3d(2, 3), torch.randn(1, 2, 3, 4, 5)
    repeated = torch.cat([x[:, :, :1], x[:, :, :1], x], dim=2)
    torch.testing.assert_close(layer(x, Chunk()), layer.conv(repeated))


def test_a_memory_does_not_keep_the_chunk_alive():
    layer, memory = CausalConv3d(2, 3), {}
    layer(torch.randn(1, 2, 9, 4, 5), Chunk(last=False, memory=memory))
    assert memory[layer].untyped_storage().nbytes() == 2 * 2 * 4 * 5 * 4
    whole = Chunk()
    layer(torch.randn(1, 2, 9, 4, 5), whole)
    assert not whole.memory


class Nothing(torch.nn.Module):
    def forward(self, x, chunk):
        return x


class Plain(Doubling):
    """Without its convolution, so that its frames can be read."""

    def __init__(self, mode, ahead=0):
        super().__init__(1, mode, ahead=ahead)
        self.conv = Nothing()


def frames(x):
    return x[0, 0, :, 0, 0].tolist()


def clip(*values):
    return torch.tensor(values)[None, None, :, None, None].expand(1, 1, -1, 2, 3)


@pytest.mark.parametrize(
    ("mode", "expected"), [("nearest", [5, 0, 0, 4, 4, 8, 8]), ("trilinear", [5, 0, 1, 3, 5, 7, 8])]
)
def test_all_frames_but_the_first_are_doubled_among_themselves(mode, expected):
    made = Plain(mode)(clip(5.0, 0.0, 4.0, 8.0), Chunk())
    assert made.shape == (1, 1, 7, 4, 6)
    assert frames(made) == expected


def test_a_chunk_that_looks_ahead_remembers_its_own_last_frame():
    layer, memory = Plain("trilinear", ahead=1), {}
    first = layer(clip(5.0, 0.0), Chunk(last=False, memory=memory))
    second = layer(clip(0.0, 4.0, 8.0), Chunk(first=False, last=False, memory=memory))
    third = layer(clip(8.0), Chunk(first=False, memory=memory))
    assert frames(first)[:1] + frames(second)[:4] + frames(third) == [5, 0, 1, 3, 5, 7, 8]


def test_the_second_chunk_has_the_frame_that_the_first_looked_ahead_to_as_its_neighbour():
    """As the first chunk made it, which with group norm is not as the second one does."""
    layer, memory = Plain("trilinear", ahead=1), {}
    layer(clip(5.0, 16.0), Chunk(last=False, memory=memory))
    assert frames(layer(clip(0.0, 4.0), Chunk(first=False, memory=memory))) == [4, 1, 3, 4]


@torch.no_grad()
def test_attention_stays_within_a_frame():
    layer, x = FrameAttention(4, LAYERS), torch.randn(2, 4, 3, 2, 5)
    changed = x.clone()
    changed[0, :, 1] += torch.randn(4, 2, 5)
    same = (layer(x, Chunk()) == layer(changed, Chunk())).all(dim=(1, 3, 4))
    assert same.tolist() == [[True, False, True], [True, True, True]]


@torch.no_grad()
def test_group_norm_is_of_a_frame_in_blocks_of_frames_and_of_the_clip_in_causal_ones():
    x = torch.randn(1, 32, 3, 2, 2)
    flat, deep = FrameResBlock(32, GROUPS), ResBlock(32, 32, GROUPS)
    torch.testing.assert_close(flat(x[:, :, :1], Chunk()), flat(x, Chunk())[:, :, :1])
    assert not torch.allclose(deep(x[:, :, :1], Chunk()), deep(x, Chunk())[:, :, :1])


@torch.no_grad()
def test_layer_norm_looks_at_one_position():
    x = 3 * torch.randn(2, 4, 3, 2, 5) + 1
    normed = LAYERS.norm(4)(x)
    torch.testing.assert_close(normed.mean(dim=1), torch.zeros(2, 3, 2, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(normed.var(dim=1, unbiased=False), torch.ones(2, 3, 2, 5), atol=1e-4, rtol=0)
