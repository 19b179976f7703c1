"""Which frames a step is trained on, and which clips an autoencoder does not take."""

import pytest
import torch
from vidgen.errors import UserError
from vidgen.interfaces import Size3
from vidgen_train_autoencoder.mixing import Mixing, check_sizes

STEPS = range(2000)


def mixing(strategy: str | None, ratio: float = 0.0, seed: int = 1) -> Mixing:
    return Mixing(strategy=strategy, image_ratio=ratio, seed=seed)


class Odd:
    """Takes clips of odd lengths, in blocks of 4x4 pixels."""

    stride = (2, 4, 4)

    def latent_size(self, video_size: Size3) -> Size3:
        if video_size[0] % 2 == 0:
            raise UserError(f"{video_size[0]} frames: take {video_size[0] - 1} or {video_size[0] + 1}.")
        return (video_size[0] + 1) // 2, video_size[1] // 4, video_size[2] // 4


def test_a_share_of_steps_sees_single_frames() -> None:
    frames = [mixing("mixed_video_image", 0.2).frames(step, 17) for step in STEPS]
    assert set(frames) == {1, 17}
    assert frames.count(1) / len(frames) == pytest.approx(0.2, abs=0.03)


def test_random_lengths_are_even_from_one_to_all() -> None:
    frames = [mixing("mixed_video_random").frames(step, 5) for step in STEPS]
    assert all(frames.count(length) / len(frames) == pytest.approx(0.2, abs=0.03) for length in range(1, 6))


def test_a_step_has_its_draw_whatever_came_before() -> None:
    forward = [mixing("mixed_video_random").frames(step, 9) for step in range(50)]
    assert [mixing("mixed_video_random").frames(step, 9) for step in reversed(range(50))] == forward[::-1]
    assert [mixing("mixed_video_random", seed=2).frames(step, 9) for step in range(50)] != forward


def test_the_first_frames_are_kept() -> None:
    video = torch.arange(7).view(1, 1, 7, 1, 1)
    assert mixing(None).cut(video, 0) is not None and mixing(None).cut(video, 0).shape[2] == 7
    cut = mixing("mixed_video_image", 1.0).cut(video, 3)
    assert cut.flatten().tolist() == [0]
    drawn = mixing("mixed_video_random").cut(video, 3).flatten().tolist()
    assert drawn == list(range(len(drawn)))


def test_every_length_that_may_come_is_asked_for_at_the_start() -> None:
    check_sizes(Odd(), "odd", mixing("mixed_video_image", 0.2), (17, 8, 12))
    with pytest.raises(UserError, match=r"^num_frames: clips of 16 frames, which odd does not take: .* 15 or 17"):
        check_sizes(Odd(), "odd", mixing(None), (16, 8, 12))
    with pytest.raises(UserError, match=r"^mixed_strategy: mixed_video_random makes clips of 2 frames, which odd does"):
        check_sizes(Odd(), "odd", mixing("mixed_video_random"), (17, 8, 12))


def test_pixels_that_fill_no_latent_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"image_size: of 10x12 pixels odd keeps 8x12, .* multiples of 4 rows and 4 col"
    ):
        check_sizes(Odd(), "odd", mixing(None), (17, 10, 12))
