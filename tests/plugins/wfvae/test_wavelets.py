"""Bands, their order, and the way back."""

import pytest
import torch
from vidgen_wfvae.chunks import Chunk
from vidgen_wfvae.wavelets import (
    ClipWavelet,
    FrameWavelet,
    InverseClipWavelet,
    InverseFrameWavelet,
    clip_filters,
    filter_named,
)

LATER = Chunk(first=False)


def bands(x, wavelet, chunk=None):
    """Of one block of one channel, as numbers."""
    return wavelet(x[None, None], chunk or Chunk()).flatten().tolist()


def test_bands_of_frames_are_low_then_rows_then_columns_then_both():
    x = torch.tensor([[[1.0, 3.0], [6.0, 14.0]]])
    assert bands(x, FrameWavelet()) == [12.0, -8.0, -5.0, 3.0]


def test_bands_of_clips_go_by_frames_then_rows_then_columns():
    """Ramps of 1, 2 and 4 along columns, rows and frames: only the bands high along one axis see them."""
    x = torch.arange(8.0).reshape(2, 2, 2)
    expected = [0.3536 * total for total in (28, -4, -8, 0, -16, 0, 0, 0)]
    assert bands(x, ClipWavelet(), LATER) == pytest.approx(expected, abs=1e-5)


def test_the_first_frame_of_a_clip_is_paired_with_itself():
    x = torch.arange(4.0).reshape(1, 2, 2)
    assert bands(x, ClipWavelet()) == bands(torch.cat([x, x]), ClipWavelet(), LATER)
    assert bands(x, ClipWavelet())[4:] == pytest.approx([0.0] * 4, abs=1e-5)


def test_every_band_holds_all_channels():
    x = torch.rand(2, 3, 5, 6, 8)
    made, alone = ClipWavelet()(x, Chunk()), ClipWavelet()(x[:, 1:2], Chunk())
    torch.testing.assert_close(made[:, 1::3], alone)


@pytest.mark.parametrize("size", [(1, 2, 2), (4, 5, 7), (7, 6, 9)])
def test_what_fills_no_block_is_left_out(size):
    t, h, w = size
    assert ClipWavelet()(torch.zeros(1, 3, *size), Chunk()).shape == (1, 24, (t + 1) // 2, h // 2, w // 2)
    assert FrameWavelet()(torch.zeros(1, 3, *size), Chunk()).shape == (1, 12, t, h // 2, w // 2)


def test_there_and_back_is_the_same_but_for_the_rounded_coefficient():
    x = torch.rand(2, 3, 5, 6, 8)
    clip = InverseClipWavelet()(ClipWavelet()(x, Chunk()), Chunk())
    torch.testing.assert_close(clip, 8 * 0.3536**2 * x)
    torch.testing.assert_close(InverseFrameWavelet()(FrameWavelet()(x, Chunk()), Chunk()), x)


def test_a_later_chunk_keeps_all_its_frames():
    bands = torch.rand(1, 8, 3, 2, 2)
    assert InverseClipWavelet()(bands, Chunk()).shape == (1, 1, 5, 4, 4)
    assert InverseClipWavelet()(bands, LATER).shape == (1, 1, 6, 4, 4)


def test_it_is_the_convolution_with_its_filters():
    """The two ways to say it: a strided convolution forth, its transpose back."""
    x, weight = torch.rand(2, 1, 4, 6, 8), clip_filters()[:, None]
    forth = torch.nn.functional.conv3d(x, weight, stride=2)
    torch.testing.assert_close(ClipWavelet()(x, LATER), forth)
    back = torch.nn.functional.conv_transpose3d(forth, weight, stride=2)
    torch.testing.assert_close(InverseClipWavelet()(forth, LATER), back)


@pytest.mark.parametrize("layer", [ClipWavelet, InverseClipWavelet, FrameWavelet, InverseFrameWavelet])
def test_filters_are_found_by_their_published_names(layer):
    entries = torch.nn.ModuleDict({"wavelet_tranform_l1": layer()}).state_dict()
    assert entries
    for name, value in entries.items():
        assert torch.equal(filter_named(f"encoder.{name}").flatten(), value.flatten())
    assert filter_named("encoder.conv_out.conv.weight") is None
