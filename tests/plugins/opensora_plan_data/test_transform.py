"""Frames of one size to another."""

import torch
from torch.nn.functional import interpolate
from vidgen_opensora_plan_data.sizes import Box, Fit, fit_to_area, fit_to_size
from vidgen_opensora_plan_data.transform import apply, cut


def frames(count=7, height=37, width=53):
    return torch.randint(
        0, 256, (3, count, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_frames_are_resized_as_the_float_video_would_be():
    video = frames()
    fit = fit_to_area((37, 53), max_hxw=700, stride=8)
    whole = interpolate(
        video.transpose(0, 1).float() / 255, size=fit.resized, mode="bilinear", align_corners=True, antialias=True
    )
    wanted = cut(whole, fit.after).transpose(0, 1)
    made = apply(video, fit)
    assert made.shape == (3, 7, 16, 24) and made.dtype == torch.uint8
    torch.testing.assert_close(made.float() / 255, wanted, rtol=0, atol=0.5 / 255 + 1e-6)


def test_frames_do_not_depend_on_how_many_there_are():
    video, fit = frames(), fit_to_size((37, 53), (16, 11))
    together = apply(video, fit)
    for number in range(7):
        assert torch.equal(apply(video[:, number : number + 1], fit)[:, 0], together[:, number])


def test_nothing_is_resampled_where_the_size_fits():
    video = frames()
    fit = Fit(Box(2, 3, 32, 48), (32, 48), Box(1, 5, 8, 16))
    assert torch.equal(apply(video, fit), video[:, :, 3:11, 8:24])


def test_one_colour_stays_itself():
    for value in (0, 1, 128, 254, 255):
        made = apply(torch.full((3, 2, 37, 53), value, dtype=torch.uint8), fit_to_size((37, 53), (64, 24)))
        assert (made == value).all()
