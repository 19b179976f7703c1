"""Tiles cover everything, meet without a seam, and are exact where the network is local or they are one."""

import pytest
import torch
from torch.nn import functional
from vidgen.errors import UserError
from vidgen_autoencoders.tiles import Tiles, decode_tiled, encode_tiled, tiles_for


def shrink(frames):
    """A local encoder: means of 4x4 pixels; rows and columns that fill none are left out."""
    return functional.avg_pool2d(frames, 4)


def grow(latents):
    """A local decoder: every latent 4x4 times."""
    return functional.interpolate(latents, scale_factor=4.0, mode="nearest")


@pytest.mark.parametrize("length", range(1, 24))
@pytest.mark.parametrize("tiles", [Tiles(size=5, overlap=2), Tiles(size=4, overlap=0), Tiles(size=2, overlap=1)])
def test_spans_cover_an_axis_and_stay_inside(length, tiles):
    spans = tiles.spans(length)
    assert set().union(*(range(*span) for span in spans)) == set(range(length))
    assert {stop - start for start, stop in spans} == {min(length, tiles.size)}
    assert all(stop - start >= tiles.overlap for (start, _), (_, stop) in zip(spans[1:], spans, strict=False))


@pytest.mark.parametrize("tiles", [Tiles(size=3, overlap=1), Tiles(size=5, overlap=2), Tiles(size=2, overlap=0)])
def test_a_local_network_gives_the_same_in_tiles(tiles):
    frames = torch.rand(2, 3, 4 * 11 + 3, 4 * 7 + 1)
    latents = encode_tiled(shrink, frames, tiles, 4)
    torch.testing.assert_close(latents, shrink(frames))
    torch.testing.assert_close(decode_tiled(grow, latents, tiles, 4), grow(latents))


def test_no_tile_is_larger_than_said():
    seen = []
    decode_tiled(
        lambda tile: seen.append(tile.shape[-2:]) or grow(tile), torch.rand(1, 2, 4, 9), Tiles(size=5, overlap=1), 4
    )
    assert set(seen) == {(4, 5)} and len(seen) == 2


def test_one_tile_is_the_whole_bit_for_bit():
    frames = torch.rand(1, 3, 23, 15)
    seen = []
    encode_tiled(lambda tile: seen.append(tile) or shrink(tile), frames, Tiles(size=5, overlap=2), 4)
    assert len(seen) == 1 and seen[0] is frames


def test_neighbours_are_blended_in_a_straight_line():
    """Two tiles of 4 that share 2 latents, the first 0 and the second 1."""
    values = iter([0.0, 1.0])
    blended = decode_tiled(
        lambda tile: torch.full_like(tile, next(values)), torch.zeros(1, 1, 1, 6), Tiles(size=4, overlap=2), 1
    )
    torch.testing.assert_close(blended.flatten(), torch.tensor([0, 0, 0.25, 0.75, 1, 1]))


def test_gradients_go_through_every_tile():
    frames = torch.rand(1, 3, 40, 24, requires_grad=True)
    encode_tiled(shrink, frames, Tiles(size=4, overlap=1), 4).sum().backward()
    torch.testing.assert_close(frames.grad, torch.full_like(frames, 1 / 16))


def test_a_tile_that_is_no_whole_number_of_latents_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"tile_size is 100 pixels, .* multiple of 8, such as 96 or 104\."):
        tiles_for(100, 0.25, 8)
    with pytest.raises(UserError, match=r"such as 8\."):
        tiles_for(5, 0.25, 8)
    assert tiles_for(None, 0.25, 8) is None
    assert tiles_for(96, 0.25, 8) == Tiles(size=12, overlap=3)
    assert tiles_for(8, 0.5, 8) == Tiles(size=1, overlap=0)
