"""Training masks: shapes of each kind, and which random numbers they take."""

import pytest
import torch
from vidgen.conditioning.mask_ratios import KINDS, complete_ratios
from vidgen.conditioning.masks import draw_mask, training_mask
from vidgen.rng import Draws


class Scripted:
    """Chances that are written down; complains of integers out of their range."""

    def __init__(self, *numbers: float) -> None:
        self._numbers = list(numbers)

    def fraction(self) -> float:
        return self._numbers.pop(0)

    def integer(self, low: int, high: int) -> int:
        number = int(self._numbers.pop(0))
        assert low <= number <= high, f"{number} is not in {low}..{high}"
        return number

    def fractions(self, count: int) -> torch.Tensor:
        return torch.tensor([self._numbers.pop(0) for _ in range(count)])

    @property
    def left(self) -> int:
        return len(self._numbers)


@pytest.mark.parametrize(
    ("kind", "numbers", "mask"),
    [
        ("identity", [], "111111111"),
        ("quarter_random", [2, 7], "111111100"),
        ("quarter_head", [2], "001111111"),
        ("quarter_tail", [1], "111111110"),
        ("quarter_head_tail", [2], "001111100"),
        ("image_random", [8], "111111110"),
        ("image_head", [], "011111111"),
        ("image_tail", [], "111111110"),
        ("image_head_tail", [], "011111110"),
        ("intepolate", [1], "101010101"),
        ("intepolate", [0], "010101010"),
        ("random", [0.5, 0.6, 0.4, 0.9, 0.1, 0.2, 0.7, 0.5, 0.51, 0.0], "101001010"),
        ("random", [1.0, *[0.25] * 9], "000000001"),
    ],
)
def test_each_kind_gives_its_frames(kind, numbers, mask):
    """Shares of `random`: 0.1 + 0.8 * 0.5 = 0.5; a frame is learned where its number is above it."""
    chances = Scripted(0.5, *numbers)
    made = draw_mask({kind: 1.0}, 9, chances)
    assert "".join(str(int(one)) for one in made) == mask
    assert chances.left == 0


def test_kinds_are_chosen_by_cumulative_probability_in_the_order_given():
    ratios = {"image_tail": 0.25, "image_head": 0.5, "identity": 0.25}
    made = [draw_mask(ratios, 3, Scripted(number)).tolist() for number in (0.0, 0.2499, 0.25, 0.7499, 0.75, 0.9999)]
    tail, head, none = [True, True, False], [False, True, True], [True, True, True]
    assert made == [tail, tail, head, head, none, none]


def test_a_number_beyond_all_shares_by_rounding_gives_no_frame():
    assert draw_mask({"image_head": 0.9999999}, 3, Scripted(0.99999999)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_one_frame_is_always_learned_and_takes_the_kinds_number_alone(kind):
    chances = Scripted(0.5)
    assert draw_mask({kind: 1.0}, 1, chances).tolist() == [True]
    assert chances.left == 0


@pytest.mark.parametrize("frames", [2, 3])
def test_a_quarter_of_few_frames_is_one(frames):
    assert draw_mask({"quarter_head": 1.0}, frames, Scripted(0.5, 1)).tolist() == [False] + [True] * (frames - 1)


def test_masks_belong_to_samples_not_to_batches():
    ratios, samples = complete_ratios({"random": 0.5, "quarter_random": 0.5}), [(0, row) for row in range(5)]
    batch = training_mask(ratios, 11, Draws(3, samples))
    assert (batch.shape, batch.dtype) == ((5, 11), torch.bool)
    assert len({tuple(row) for row in batch.tolist()}) > 1
    for row, sample in enumerate(samples):
        assert torch.equal(training_mask(ratios, 11, Draws(3, [sample]))[0], batch[row])


def test_another_seed_draws_other_masks():
    ratios, samples = complete_ratios({"random": 1.0}), [(0, row) for row in range(3)]
    assert not torch.equal(training_mask(ratios, 13, Draws(1, samples)), training_mask(ratios, 13, Draws(2, samples)))
