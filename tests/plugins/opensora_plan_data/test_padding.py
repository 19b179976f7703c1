"""Batches of clips of several shapes."""

import pytest
import torch
from vidgen.errors import UserError
from vidgen_opensora_plan_data.padding import Grid, latent_mask, pad, target

GRID = Grid(stride=(4, 8, 8), patch=(1, 2, 2))


def test_sizes_grow_to_whole_tokens():
    assert GRID.padded((29, 48, 64)) == (29, 48, 64)
    assert GRID.padded((30, 49, 63)) == (33, 64, 64)
    assert Grid(stride=(4, 8, 8), patch=(2, 2, 2)).padded((29, 48, 64)) == (29, 48, 64)
    assert Grid(stride=(4, 8, 8), patch=(2, 2, 2)).padded((33, 48, 64)) == (37, 48, 64)


def test_latents_are_whole_or_touched():
    assert GRID.latents((29, 48, 64)) == (8, 6, 8)
    assert GRID.touched((26, 41, 64)) == (8, 6, 8)
    assert GRID.touched((1, 1, 8)) == (1, 1, 1)


def test_clips_are_padded_behind_their_ends():
    clips = [torch.ones(2, 3, 4, 5), torch.ones(2, 2, 5, 3)]
    batch = pad(clips, (3, 6, 7))
    assert batch.shape == (2, 2, 3, 6, 7)
    for row, clip in zip(batch, clips, strict=True):
        frames, height, width = clip.shape[1:]
        assert (row[:, :frames, :height, :width] == 1).all() and row.sum() == clip.numel()


def test_clips_of_several_sizes_go_to_the_largest_allowed():
    sizes = [(29, 48, 64), (1, 32, 32)]
    assert target(sizes, (93, 480, 640), group_data=False) == (93, 480, 640)
    assert target(sizes[:1], (93, 480, 640), group_data=False) == (29, 48, 64)
    assert target(sizes[:1] * 2, (93, 480, 640), group_data=True) == (29, 48, 64)


def test_a_clip_beyond_the_largest_is_refused():
    with pytest.raises(UserError, match="a clip of 29x48x64 does not fit a batch that is padded to 29x48x63"):
        target([(29, 48, 64), (1, 32, 32)], (29, 48, 63), group_data=False)


def test_the_mask_tells_what_is_no_padding():
    mask = latent_mask([(5, 16, 24), (1, 8, 9)], (5, 16, 32), GRID, group_data=False)
    assert mask.shape == (2, 2, 2, 4)
    assert mask[0].sum() == 2 * 2 * 3 and (mask[0, :, :, :3] == 1).all()
    assert mask[1].sum() == 2 and (mask[1, 0, 0, :2] == 1).all()


@pytest.mark.parametrize(("group_data", "count"), [(True, 2), (False, 1)])
def test_padding_that_a_batch_of_one_shape_would_have_is_refused(group_data, count):
    with pytest.raises(UserError, match="clips of 29x40x64 are padded to 29x48x64, so that some latents hold nothing"):
        latent_mask([(29, 40, 64)] * count, GRID.padded((29, 40, 64)), GRID, group_data=group_data)
