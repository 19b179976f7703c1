"""Classifier-free guidance against the formula written out."""

from typing import Any

import pytest
import torch
from torch import Tensor
from vidgen.guidance.denoiser import guide


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
