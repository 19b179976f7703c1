"""Losses of everything that can be combined, beside the formulas over the tables of diffusers."""

from itertools import product

import pytest
import torch
from diffusers import DDPMScheduler
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_euler_ancestral import EulerAncestralOptions
from vidgen_euler_ancestral.scheduler import build

SHAPE = (3, 2, 2, 3, 5)
COMBINED = [
    (kind, zero_snr, gamma, offset)
    for kind, zero_snr, gamma, offset in product(
        ("epsilon", "v_prediction", "sample"), (False, True), (None, 1.0, 5.0), (0.0, 0.1)
    )
    if gamma is None or (kind != "sample" and (kind, zero_snr) != ("epsilon", True))
]


def expected(kind, library, *, x, noise, t, predicted, gamma, valid):
    """The mean squared error, or the sum over what counts divided by how much that is, weights not being counted."""
    wanted = {"epsilon": noise, "v_prediction": library.get_velocity(x, noise, t), "sample": x}[kind]
    error = (predicted - wanted).square()
    if gamma is not None:
        share = library.alphas_cumprod[t].double()
        snr = share / (1 - share)
        weight = snr.clamp(max=gamma) / (snr if kind == "epsilon" else snr + 1)
        error = error * weight.float().view(-1, 1, 1, 1, 1)
    counted = torch.ones(SHAPE) if valid is None else valid[:, None].expand(SHAPE)
    return (error * counted).sum() / counted.sum()


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("kind", "zero_snr", "gamma", "offset"), COMBINED)
def test_every_combination_costs_what_its_formulas_say(kind, zero_snr, gamma, offset, padded):
    options = {"prediction_type": kind, "rescale_betas_zero_snr": zero_snr}
    process = build(EulerAncestralOptions(**options, snr_gamma=gamma, noise_offset=offset), Context())
    library, draws = DDPMScheduler(**options), Draws(3, [(0,), (1,), (2,)])
    x, predicted = torch.randn(SHAPE), torch.randn(SHAPE)
    t = torch.tensor([0, 517, 999])
    valid = torch.ones(3, 2, 3, 5) if padded else None
    if valid is not None:
        valid[1, 1:], valid[2, :, :, 3:] = 0, 0
    shown = []

    def model(x_t, t):
        shown.append(x_t)
        return predicted

    loss = process.training_losses(model, x, {}, draws=draws, t=t, valid=valid)["loss"].mean()
    noise = draws.normal("noise", SHAPE[1:])
    noise = noise + offset * draws.normal("noise offset", (SHAPE[1], 1, 1, 1))
    torch.testing.assert_close(shown[0], library.add_noise(x, noise, t), rtol=0, atol=1e-5)
    wanted = expected(kind, library, x=x, noise=noise, t=t, predicted=predicted, gamma=gamma, valid=valid)
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=1e-6)
