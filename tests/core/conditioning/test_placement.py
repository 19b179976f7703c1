"""Given frames in the noise, and the mask."""

import pytest
import torch
from vidgen.conditioning.placement import place
from vidgen.conditioning.spans import nearest_multiple, spans
from vidgen.conditioning.strategy import Given, parse_strategy
from vidgen.errors import UserError


def reference(first: int, frames: int) -> torch.Tensor:
    """(2, T, 3, 5): its frames hold `first` and the numbers that follow."""
    return torch.arange(first, first + frames, dtype=torch.float32).view(1, -1, 1, 1).expand(2, -1, 3, 5)


def noise(samples: int, frames: int) -> torch.Tensor:
    return torch.full((samples, 2, frames, 3, 5), -1.0)


def numbers(z: torch.Tensor) -> list[list[float]]:
    return z[:, 1, :, 2, 4].tolist()


def test_frames_are_put_in_their_place_and_the_mask_says_so():
    z = noise(2, 6)
    given = [parse_strategy("0,1,-2,1,2,0.25;0,0,0,-1"), []]
    mask = place(z, [[reference(10, 1), reference(20, 5)], []], given, 0)
    assert numbers(z) == [[-1, 23, 24, -1, -1, 10], [-1] * 6]
    assert mask.tolist() == [[1, 0.25, 0.25, 1, 1, 0], [1] * 6]
    assert mask.dtype == torch.float32


def test_later_groups_lie_over_earlier_ones():
    z = noise(1, 4)
    mask = place(z, [[reference(10, 3), reference(20, 2)]], [parse_strategy("0,0,0,0,3;0,1,0,1,2,0.5")], 0)
    assert numbers(z) == [[10, 20, 21, -1]]
    assert mask.tolist() == [[0, 0.5, 0.5, 1]]


def test_other_loops_are_left_for_their_time():
    given = [parse_strategy("1,-1,-2,0,2")]
    first, second = noise(1, 3), noise(1, 3)
    assert place(first, [[reference(10, 4)]], given, 0).all() and (first == -1).all()
    place(second, [[reference(10, 4)]], given, 1)
    assert numbers(second) == [[12, 13, -1]]


def test_what_does_not_fit_is_shortened_or_refused():
    given = [[Given(start=2, length=9)]]
    z = noise(1, 4)
    place(z, [[reference(10, 5)]], given, 0)
    assert numbers(z) == [[-1, -1, 10, 11]]
    with pytest.raises(UserError, match="wants 9 latent frames, but from there on reference 0 has 5 and the clip 2"):
        place(noise(1, 4), [[reference(10, 5)]], given, 0, clip=False)


def test_a_start_right_behind_the_last_frame_gives_nothing():
    z = noise(1, 3)
    assert place(z, [[reference(10, 2)]], [[Given(start=3)]], 0).all()
    assert place(z, [[reference(10, 2)]], [[Given(reference_start=2)]], 0).all()
    assert (z == -1).all()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Given(reference=2), "takes reference 2, but only 0..0 are there"),
        (Given(reference=-2), "takes reference -2"),
        (Given(start=5), "begins at frame 5 of the clip, which has 4 latent frames\n    accepted: -4..3"),
        (Given(start=-5), "begins at frame -5 of the clip"),
        (Given(reference_start=3), "begins at frame 3 of reference 0, which has 2"),
        (Given(reference_start=-3), "begins at frame -3 of reference 0"),
        (Given(length=-1), "a length below 0: -1"),
    ],
)
def test_what_is_not_there_is_refused_and_nothing_is_changed(given, told):
    z = noise(2, 4)
    with pytest.raises(UserError) as error:
        place(z, [[reference(20, 2)], [reference(10, 2)]], [[Given()], [given]], 0)
    assert str(error.value).startswith("sample 1: mask_strategy: ")
    assert told in str(error.value)
    assert (z == -1).all()


def test_references_of_another_size_are_refused():
    with pytest.raises(UserError, match=r"reference 0 has latents of \(2, 3, 5\), the clip has \(2, 3, 4\)"):
        place(torch.zeros(1, 2, 4, 3, 4), [[reference(10, 2)]], [[Given()]], 0)


def test_references_are_put_into_noise_of_another_precision():
    z = noise(1, 2).bfloat16()
    mask = place(z, [[reference(10, 1)]], [[Given(edit=0.3)]], 0)
    assert numbers(z) == [[10, -1]]
    assert mask[0, 0].item() == pytest.approx(0.3, abs=1e-7)


@pytest.mark.parametrize(("start", "near"), [(0, 0), (2, 0), (3, 4), (4, 4), (6, 4), (7, 8), (11, 8)])
def test_starts_move_to_the_nearest_multiple_the_lower_of_two(start, near):
    assert nearest_multiple(start, 4, 13) == near


def test_both_starts_are_aligned():
    (span,) = spans([Given(reference_start=3, start=-4, length=3)], [15], 15, 0, 5)
    assert (span.reference_start, span.start, span.length) == (5, 10, 3)
