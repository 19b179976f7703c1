"""Classifier-free guidance against the formula written out."""

from math import cos, pi
from typing import Any

import pytest
import torch
from torch import Tensor
from vidgen import UserError
from vidgen.guidance.denoiser import guide
from vidgen.guidance.options import GuidanceOptions


class Denoiser:
    """Predicts sums of what it is given, so that every part of the input can be found in the output."""

    def __init__(self, out_channels: int = 3) -> None:
        self.out_channels = out_channels
        self.batches: list[int] = []

    def __call__(self, x: Tensor, t: Tensor, *, y: Tensor, scale: Tensor, x_mask: Tensor | None = None) -> Tensor:
        self.batches.append(len(x))
        told = t + 10 * y.sum(dim=(1, 2)) + 100 * scale
        told = told if x_mask is None else told + 1000 * x_mask.sum(dim=1)
        ramp = torch.arange(1.0, self.out_channels + 1)
        return x.mean(dim=1, keepdim=True) + told.view(-1, 1, 1, 1, 1) * ramp.view(1, -1, 1, 1, 1)


@pytest.fixture
def case() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return {
        "x": draw(2, 3, 2, 5, 7),
        "t": draw(2),
        "conditioning": {"y": draw(2, 4, 3), "scale": draw(2)},
        "null": {"y": draw(2, 4, 3), "scale": draw(2)},
    }


@pytest.mark.parametrize("scale", [0.0, 0.5, 4.0, -1.0])
def test_a_guided_prediction_is_null_plus_scale_times_the_difference(case: dict[str, Any], scale: float):
    """arXiv 2207.12598, equation 6, written with scale = 1 + w."""
    model = Denoiser()
    guided = guide(model, case["conditioning"], case["null"], scale, 3)(case["x"], case["t"])
    conditional = Denoiser()(case["x"], case["t"], **case["conditioning"])
    null = Denoiser()(case["x"], case["t"], **case["null"])
    torch.testing.assert_close(guided, null + scale * (conditional - null))
    assert model.batches == [4]  # both halves in one call


def test_halves_in_turn_give_the_same(case: dict[str, Any]):
    model, mask = Denoiser(), torch.tensor([[True, False], [True, True]])
    guided = [
        guide(model, case["conditioning"], case["null"], 4.0, 3, options=GuidanceOptions(guidance_in_turn=turn))
        for turn in (False, True)
    ]
    together, in_turn = (one(case["x"], case["t"], mask) for one in guided)
    torch.testing.assert_close(in_turn, together)
    assert model.batches == [4, 2, 2]


def test_channels_beyond_those_guided_are_the_conditional_ones(case: dict[str, Any]):
    """A learned variance is no prediction of the clip."""
    guided = guide(Denoiser(6), case["conditioning"], case["null"], 4.0, 3)(case["x"], case["t"])
    conditional = Denoiser(6)(case["x"], case["t"], **case["conditioning"])
    null = Denoiser(6)(case["x"], case["t"], **case["null"])
    torch.testing.assert_close(guided[:, 3:], conditional[:, 3:], rtol=0, atol=0)
    torch.testing.assert_close(guided[:, :3], (null + 4.0 * (conditional - null))[:, :3])


@pytest.mark.parametrize(("with_null", "scale"), [(True, 1.0), (False, 4.0)])
def test_without_anything_to_guide_by_the_model_is_called_once(case: dict[str, Any], with_null: bool, scale: float):
    model = Denoiser()
    null = case["null"] if with_null else None
    out = guide(model, case["conditioning"], null, scale, 3)(case["x"], case["t"])
    assert model.batches == [2]
    torch.testing.assert_close(out, Denoiser()(case["x"], case["t"], **case["conditioning"]), rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_frame_mask_reaches_both_halves(case: dict[str, Any], scale: float):
    mask = torch.tensor([[True, False], [True, True]])
    out = guide(Denoiser(), case["conditioning"], case["null"], scale, 3)(case["x"], case["t"], x_mask=mask)
    conditional = Denoiser()(case["x"], case["t"], **case["conditioning"], x_mask=mask)
    null = Denoiser()(case["x"], case["t"], **case["null"], x_mask=mask)
    torch.testing.assert_close(out, null + scale * (conditional - null))


def test_a_model_that_takes_no_mask_is_given_none(case: dict[str, Any]):
    def model(x: Tensor, t: Tensor, *, y: Tensor, scale: Tensor) -> Tensor:
        return x

    for strength in (1.0, 3.0):
        out = guide(model, case["conditioning"], case["null"], strength, 3)(case["x"], case["t"])
        torch.testing.assert_close(out, case["x"])


def times(*shares: float) -> dict[str, Any]:
    return {"times": list(shares)}


def test_a_rescaled_prediction_has_the_spread_of_the_conditional_one(case: dict[str, Any]):
    """arXiv 2305.08891, section 3.4, equations 14 to 16."""
    options = GuidanceOptions(guidance_rescale=0.7)
    out = guide(Denoiser(), case["conditioning"], case["null"], 4.0, 3, options=options)(case["x"], case["t"])
    plain = guide(Denoiser(), case["conditioning"], case["null"], 4.0, 3)(case["x"], case["t"])
    conditional = Denoiser()(case["x"], case["t"], **case["conditioning"])
    factor = conditional.std(dim=(1, 2, 3, 4)) / plain.std(dim=(1, 2, 3, 4))
    torch.testing.assert_close(out, 0.7 * plain * factor.view(-1, 1, 1, 1, 1) + 0.3 * plain)


def test_rescaling_survives_a_model_that_predicts_nothing(case: dict[str, Any]):
    options = GuidanceOptions(guidance_rescale=1.0)

    def fresh(x: Tensor, t: Tensor, **conditioning: Tensor) -> Tensor:
        return 0 * x

    out = guide(fresh, case["conditioning"], case["null"], 4.0, 3, options=options)(case["x"], case["t"])
    assert out.abs().max() == 0


def test_outside_its_interval_guidance_rests_and_saves_half_the_work(case: dict[str, Any]):
    model, options = Denoiser(), GuidanceOptions(guidance_interval=(0.2, 0.6))
    guided = guide(model, case["conditioning"], case["null"], 4.0, 3, options=options, **times(0.9, 0.6, 0.2, 0.1))
    made = [guided(case["x"], case["t"], step=i) for i in range(4)]
    assert model.batches == [2, 4, 4, 2]
    torch.testing.assert_close(made[0], Denoiser()(case["x"], case["t"], **case["conditioning"]))
    assert torch.equal(made[1], made[2]) and not torch.equal(made[0], made[1])


def test_samples_of_one_batch_may_be_at_different_times(case: dict[str, Any]):
    model, options = Denoiser(), GuidanceOptions(guidance_interval=(0.0, 0.5))
    shares = torch.tensor([[0.9, 0.4]])
    out = guide(model, case["conditioning"], case["null"], 4.0, 3, options=options, times=shares)(case["x"], case["t"])
    plain = guide(model, case["conditioning"], case["null"], 4.0, 3)(case["x"], case["t"])
    conditional = Denoiser()(case["x"], case["t"], **case["conditioning"])
    torch.testing.assert_close(out[0], conditional[0], rtol=0, atol=0)
    torch.testing.assert_close(out[1], plain[1])


@pytest.mark.parametrize(("share", "scale"), [(1.0, 1.0), (0.0, 5.0), (0.5, 1 + 2 * (1 - cos(pi * 0.25)))])
def test_a_dynamic_scale_grows_as_noise_falls(case: dict[str, Any], share: float, scale: float):
    options = GuidanceOptions(dynamic_guidance=2.0)
    out = guide(Denoiser(), case["conditioning"], case["null"], 4.0, 3, options=options, **times(share))
    even = guide(Denoiser(), case["conditioning"], case["null"], scale, 3)
    torch.testing.assert_close(out(case["x"], case["t"]), even(case["x"], case["t"]))


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -float("inf")])
def test_a_scale_that_is_no_number_is_refused(case: dict[str, Any], scale: float):
    with pytest.raises(UserError, match=r"guidance scale of .* is not a number to work with"):
        guide(Denoiser(), case["conditioning"], case["null"], scale, 3)
