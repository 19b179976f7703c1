"""Training losses: what a perfect model loses, where gradients go, masks, and what is refused."""

from typing import Any

import pytest
import torch
import vidgen
from torch import Tensor
from vidgen import UserError
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_iddpm import IDDPMOptions
from vidgen_iddpm.scheduler import build
from vidgen_iddpm.speed import SpeedIDDPM

SHAPE = (3, 2, 4, 5)


def draws(*rows: int) -> Draws:
    return Draws(7, [(row,) for row in rows])


def latents(batch: int = 3) -> Tensor:
    return torch.randn((batch, *SHAPE), generator=torch.Generator().manual_seed(1))


class Oracle:
    """Knows the noise; says the variance it is told."""

    def __init__(self, noise: Tensor, v: float = 0.0) -> None:
        self.noise, self.v = noise, torch.tensor(v, requires_grad=True)
        self.gain = torch.tensor(1.0, requires_grad=True)

    def __call__(self, x: Tensor, t: Tensor, x_mask: Tensor | None = None) -> Tensor:
        self.x, self.t, self.x_mask = x, t, x_mask
        return torch.cat([self.gain * self.noise, self.v.expand_as(self.noise)], dim=1)


def test_a_perfect_model_has_no_squared_error():
    noise = latents()
    losses = vidgen.build("scheduler", "iddpm").training_losses(
        Oracle(noise), latents(), {}, noise=noise, draws=draws(0, 1, 2)
    )
    assert losses["mse"].abs().max() == 0
    torch.testing.assert_close(losses["loss"], losses["vb"])


def test_the_variational_term_teaches_the_variance_alone():
    noise = latents()
    model = Oracle(noise)
    losses = vidgen.build("scheduler", "iddpm").training_losses(model, latents(), {}, noise=noise, draws=draws(0, 1, 2))
    losses["vb"].sum().backward()
    assert model.gain.grad is None or model.gain.grad == 0
    assert model.v.grad is not None and model.v.grad != 0


def test_the_bound_alone_teaches_both():
    noise, model = latents(), Oracle(latents())
    scheduler = vidgen.build("scheduler", "iddpm", use_kl=True)
    scheduler.training_losses(model, latents(), {}, noise=noise + 0.5, draws=draws(0, 1, 2))["loss"].sum().backward()
    assert model.gain.grad != 0 and model.v.grad != 0


def test_the_model_is_told_the_steps_of_the_whole_process():
    scheduler = vidgen.build("scheduler", "iddpm", timestep_respacing="5")
    model = Oracle(latents())
    scheduler.training_losses(model, latents(), {}, noise=latents(), t=torch.tensor([0, 1, 4]))
    assert model.t.tolist() == [0, 250, 999]


def test_steps_are_drawn_evenly_and_by_sample():
    scheduler = vidgen.build("scheduler", "iddpm", timestep_respacing="10")
    t = scheduler.draw_timesteps(draws(*range(2000)))
    assert t.unique().tolist() == list(range(10)) and abs(t.float().mean() - 4.5) < 0.2
    assert t[5] == scheduler.draw_timesteps(draws(5))[0]


def test_masked_frames_reach_the_model_at_the_lowest_level_and_are_not_learned():
    x, noise, mask = latents(), latents() + 1, torch.tensor([[True, False]] * 3)
    scheduler, model = vidgen.build("scheduler", "iddpm"), Oracle(torch.zeros(3, *SHAPE))
    losses = scheduler.training_losses(model, x, {}, noise=noise, t=torch.tensor([900, 500, 10]), mask=mask)
    torch.testing.assert_close(model.x[:, :, 1], 0.9999**0.5 * x[:, :, 1] + 0.0001**0.5 * noise[:, :, 1])
    torch.testing.assert_close(losses["mse"], noise[:, :, 0].square().mean(dim=(1, 2, 3)))
    assert torch.equal(model.x_mask, mask)


def test_weights_multiply_the_squared_error_alone():
    table = torch.linspace(0, 2, 1000)
    call: dict[str, Any] = {"noise": latents(), "t": torch.tensor([0, 250, 999])}
    scheduler, model = vidgen.build("scheduler", "iddpm"), Oracle(torch.zeros(3, *SHAPE))
    plain = scheduler.training_losses(model, latents(), {}, **call)
    weighed = scheduler.training_losses(model, latents(), {}, **call, weights=table)
    torch.testing.assert_close(weighed["mse"], plain["mse"] * table[call["t"]])
    torch.testing.assert_close(weighed["vb"], plain["vb"])


def test_a_model_without_variance_needs_learn_sigma_false():
    def model(x: Tensor, t: Tensor) -> Tensor:
        return x

    with pytest.raises(UserError, match=r"learn_sigma: true.*returns 3 channels.*not 6.*learn_sigma: false"):
        vidgen.build("scheduler", "iddpm").training_losses(model, latents(), {}, draws=draws(0, 1, 2))
    losses = vidgen.build("scheduler", "iddpm", learn_sigma=False).training_losses(
        model, latents(), {}, draws=draws(0, 1, 2)
    )
    assert losses.keys() == {"loss", "mse"}


def test_that_is_known_before_anything_runs():
    with pytest.raises(UserError, match="returns 4 channels for latents of 4"):
        build(IDDPMOptions(), Context(latent_channels=4, out_channels=4))
    build(IDDPMOptions(), Context(latent_channels=4, out_channels=8))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"t": torch.tensor([0, 1, 1000])}, r"0\.\.999"),
        ({"t": torch.tensor([0, -1, 3])}, r"0\.\.999"),
        ({"t": torch.tensor([0.5, 1, 3])}, "whole steps"),
        ({"t": torch.tensor([1])}, r"needs \(3,\)"),
        ({"mask": torch.ones(3, 5, dtype=torch.bool)}, r"need \(3, 2\)"),
        ({"mask": torch.ones(3, 2)}, "needs booleans"),
        ({"noise": torch.zeros(3, 3, 2, 4, 4)}, "give the same"),
        ({"draws": None}, "random numbers are needed for t"),
        ({"draws": draws(0)}, "draws are for 1 samples"),
        ({"weights": torch.ones(10)}, r"needs \(1000,\)"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments: dict[str, Any], text: str):
    scheduler = vidgen.build("scheduler", "iddpm")
    with pytest.raises(UserError, match=text):
        scheduler.training_losses(Oracle(latents()), latents(), {}, **{"draws": draws(0, 1, 2), **arguments})


def test_the_bound_takes_no_mask():
    with pytest.raises(UserError, match="use_kl: true trains on whole clips"):
        vidgen.build("scheduler", "iddpm", use_kl=True).training_losses(
            Oracle(latents()), latents(), {}, draws=draws(0, 1, 2), mask=torch.ones(3, 2, dtype=torch.bool)
        )


def test_speed_mirrors_around_half_of_the_meaningful_steps():
    scheduler = vidgen.build("scheduler", "iddpm-speed")
    assert scheduler.meaningful_steps == 700
    assert scheduler.mirrored(torch.tensor([0, 1, 350, 699, 700, 999])).tolist() == [700, 699, 350, 1, 0, 299]


def test_speed_draws_steep_steps_five_times_as_often():
    """arXiv 2405.17403, section 3.3, with tanh between 0.5 and 2.5."""
    scheduler = vidgen.build("scheduler", "iddpm-speed")
    assert scheduler.probabilities.max() / scheduler.probabilities.min() == pytest.approx(5)
    assert scheduler.probabilities.sum() == pytest.approx(1)
    rows = draws(*range(4000))
    t = scheduler.draw_timesteps(rows)
    assert t.min() >= 0 and t.max() <= 999
    below = scheduler.probabilities[:100].sum() / 2 + scheduler.probabilities[601:701].sum() / 2
    below = below + scheduler.probabilities[700:800].sum() / 2
    assert abs((t < 100).float().mean() - below) < 0.03
    assert t[17] == scheduler.draw_timesteps(draws(17))[0]  # by sample: the batch plays no role


def test_speed_weighs_errors_by_the_noise():
    scheduler: SpeedIDDPM = vidgen.build("scheduler", "iddpm-speed")
    plain, model = vidgen.build("scheduler", "iddpm"), Oracle(torch.zeros(3, *SHAPE))
    call: dict[str, Any] = {"noise": latents(), "t": torch.tensor([0, 250, 999])}
    own, even = (one.training_losses(model, latents(), {}, **call)["mse"] for one in (scheduler, plain))
    torch.testing.assert_close(own, even * (1 - plain.process.alphas_cumprod[call["t"]]).float())
