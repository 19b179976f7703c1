"""The path between data and noise and the clock along it."""

import torch
from vidgen_diffusion.frames import active_frames
from vidgen_rflow.path import add_noise, joining_frames, shift_timesteps, step_sizes, time_grid

CPU = torch.device("cpu")


def shift(t, frames, *, size=512.0, **options):
    count = len(frames)
    sides = torch.full((count,), size)
    return shift_timesteps(torch.full((count,), t), sides, sides, torch.tensor(frames), **options)


def test_the_path_starts_at_data_and_ends_at_noise():
    x, noise = torch.randn(2, 3, 1, 2, 5), torch.randn(2, 3, 1, 2, 5)
    ends = add_noise(x, noise, torch.tensor([0.0, 1000.0]), 1000)
    torch.testing.assert_close(ends, torch.stack([x[0], noise[1]]), rtol=0, atol=0)


def test_the_shift_keeps_both_ends_and_moves_the_middle_by_its_ratio():
    """34 frames are 10 latent ones: R = sqrt(10), half way becomes R / (1 + R)."""
    torch.testing.assert_close(shift(0.0, [34.0]), torch.tensor([0.0]))
    torch.testing.assert_close(shift(1000.0, [34.0]), torch.tensor([1000.0]))
    torch.testing.assert_close(shift(500.0, [34.0]), torch.tensor([1000 * 10**0.5 / (1 + 10**0.5)]))


def test_an_image_of_512_pixels_is_not_shifted_and_scale_multiplies_the_ratio():
    torch.testing.assert_close(shift(250.0, [1.0]), torch.tensor([250.0]))
    torch.testing.assert_close(shift(500.0, [1.0], scale=3.0), torch.tensor([750.0]))


def test_the_first_sample_says_whether_the_batch_is_of_images():
    torch.testing.assert_close(shift(500.0, [1.0, 51.0]), torch.tensor([500.0, 500.0]))
    assert shift(500.0, [51.0, 1.0])[1] == 0


def test_the_shift_is_evaluated_in_float32_whatever_the_sizes_come_in():
    t = torch.tensor([500.0])
    sizes = [torch.tensor([number], dtype=torch.bfloat16) for number in (480.0, 848.0, 51.0)]
    shifted = shift_timesteps(t, *sizes)
    assert shifted.dtype == torch.float32
    torch.testing.assert_close(shifted, shift_timesteps(t, *[size.float() for size in sizes]), rtol=0, atol=0)


def test_the_grid_falls_evenly_and_its_steps_add_up_to_the_whole():
    grid = time_grid(4, 3, 1000, discrete=False)
    torch.testing.assert_close(grid, torch.tensor([1000.0, 750.0, 500.0, 250.0])[:, None].expand(4, 3))
    torch.testing.assert_close(step_sizes(grid, 1000).sum(dim=0), torch.ones(3))


def test_a_discrete_grid_is_rounded_to_whole_numbers():
    grid = time_grid(3, 1, 1000, discrete=True)
    assert grid[:, 0].tolist() == [1000, 667, 333]
    torch.testing.assert_close(step_sizes(grid, 1000)[:, 0], torch.tensor([0.333, 0.334, 0.333]))


def test_a_frame_of_nine_tenths_takes_part_from_t_900_on():
    """In double precision 0.9 of float32 falls short of 900 by a hair."""
    grid = time_grid(10, 1, 1000, discrete=False)
    active = active_frames(grid, torch.tensor([[0.9, 0.0, 1.0]]), 1000)[:, 0]
    assert active[:, 0].tolist() == [False] + [True] * 9
    assert not active[:, 1].any()
    assert active[:, 2].all()


def test_a_generated_frame_takes_part_also_when_rounding_lifts_the_time_above_the_whole():
    assert active_frames(torch.tensor([[1000.0001]]), torch.ones(1, 1), 1000).all()


def test_only_edited_frames_join_and_each_once():
    grid = time_grid(10, 2, 1000, discrete=False)
    mask = torch.tensor([[0.0, 0.35, 1.0], [1.0, 1.0, 0.9]])
    joining = joining_frames(active_frames(grid, mask, 1000), mask)
    assert joining.nonzero().tolist() == [[1, 1, 2], [7, 0, 1]]
