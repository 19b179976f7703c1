"""What models learn, family by family, and the mistakes that training refuses."""

from math import pi

import diffusers
import pytest
import torch
from diffusers.training_utils import compute_loss_weighting_for_sd3
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen.rng import Draws
from vidgen_diffusers import NAMES, DiffusersOptions
from vidgen_diffusers.scheduler import build

pytestmark = pytest.mark.filterwarnings("ignore:__array", "ignore::RuntimeWarning:diffusers")

SHAPE = (3, 2, 5, 1, 2)
FLOW = "FlowMatchEulerDiscreteScheduler"


def make(name, config=None, **options):
    return build(name, DiffusersOptions(config=config or {}, **options), Context())


def draws(*samples):
    return Draws(7, [(0, sample) for sample in samples])


def asked(ours, x, noise, t, answer):
    """The loss when the model answers so, and what it was shown."""
    seen = []

    def model(shown, t):
        seen.append(shown)
        return answer

    return ours.training_losses(model, x, {}, noise=noise, t=t)["loss"], seen[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_class_has_a_finite_loss_with_a_gradient(name):
    gain = torch.ones((), requires_grad=True)
    x = torch.randn(SHAPE)
    loss = make(name).training_losses(lambda x, t: gain * x, x, {}, draws=draws(0, 1, 2))["loss"]
    assert loss.shape == (3,)
    assert loss.isfinite().all()
    loss.mean().backward()
    assert gain.grad.abs() > 0


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_with_a_table_models_learn_what_the_library_would_have_them(kind):
    x, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([0, 400, 999])
    theirs = diffusers.DDPMScheduler(beta_schedule="scaled_linear")
    wanted = {"epsilon": noise, "sample": x, "v_prediction": theirs.get_velocity(x, noise, t)}[kind]
    ours = make("DDPMScheduler", {"beta_schedule": "scaled_linear", "prediction_type": kind})
    assert ours.prediction_type == kind
    loss, shown = asked(ours, x, noise, t, wanted + 2)
    torch.testing.assert_close(loss, torch.full((3,), 4.0), rtol=1e-5, atol=0)
    torch.testing.assert_close(shown, theirs.add_noise(x, noise, t))


@pytest.mark.parametrize(("target", "sign"), [("velocity", -1), ("flow", 1)])
def test_flow_matching_learns_the_straight_line(target, sign):
    x, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([0.0, 250.0, 1000.0])
    ours = make(FLOW, flow_target=target)
    assert ours.prediction_type == target
    loss, shown = asked(ours, x, noise, t, sign * (noise - x) + 3)
    torch.testing.assert_close(loss, torch.full((3,), 9.0))
    share = t.view(-1, 1, 1, 1, 1) / 1000
    torch.testing.assert_close(shown, (1 - share) * x + share * noise)


def test_solvers_become_flow_matching_when_told_so():
    config = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    x, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([100.0, 250.0, 900.0])
    ours = make("UniPCMultistepScheduler", config)
    assert ours.prediction_type == "velocity"
    assert asked(ours, x, noise, t, x - noise)[0].tolist() == [0, 0, 0]


def test_minimax_counts_data():
    x, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([0.0, 0.25, 1.0])
    loss, shown = asked(make("MiniMaxH3Scheduler"), x, noise, t, x - noise)
    assert loss.tolist() == [0, 0, 0]
    torch.testing.assert_close(shown[:2], torch.stack([noise[0], 0.25 * x[1] + 0.75 * noise[1]]))


def test_the_circle_and_the_cosine_by_hand():
    x, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([0.0, 0.5, 1.0])
    half = 0.5**0.5
    loss, shown = asked(make("IPNDMScheduler"), x, noise, t, torch.stack([noise[0], half * (noise - x)[1], -x[2]]))
    torch.testing.assert_close(loss, torch.zeros(3), rtol=0, atol=1e-10)
    torch.testing.assert_close(shown[1:], torch.stack([half * (x + noise)[1], noise[2]]))
    loss, shown = asked(make("DDPMWuerstchenScheduler", {"s": 0.0}), x, noise, t, noise)
    assert loss.tolist() == [0, 0, 0]
    torch.testing.assert_close(shown[1], half * (x + noise)[1])  # cos^2 and sin^2 of 45 degrees


@pytest.mark.parametrize(("kind", "word"), [("epsilon", "edm"), ("v_prediction", "edm-v")])
def test_edm_learns_what_its_preconditioning_makes_data_of(kind, word):
    """arXiv 2206.00364, equation 7: data = c_skip x + c_out F."""
    x, noise, sigma = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([0.1, 0.5, 60.0])
    theirs = diffusers.EDMEulerScheduler(prediction_type=kind)
    ours = make("EDMEulerScheduler", {"prediction_type": kind})
    assert ours.prediction_type == word
    wide = sigma.view(-1, 1, 1, 1, 1)
    state = x + wide * noise
    skip, out = theirs.precondition_outputs(state, torch.zeros(SHAPE), wide), torch.ones(SHAPE)
    out = theirs.precondition_outputs(torch.zeros(SHAPE), out, wide)
    loss, shown = asked(ours, x, noise, sigma.log() / 4, (x - skip) / out)
    torch.testing.assert_close(loss, torch.zeros(3), rtol=0, atol=1e-8)
    torch.testing.assert_close(shown, theirs.precondition_inputs(state, wide))


def test_edm_draws_the_logarithm_of_sigma():
    """arXiv 2206.00364, table 1: mean -1.2, standard deviation 1.2."""
    told = []
    many = draws(*range(400))
    make("EDMEulerScheduler").training_losses(
        lambda x, t: told.append(t) or x, torch.randn(400, 1, 1, 1, 1), {}, draws=many
    )
    log_sigma = 4 * told[0]
    assert log_sigma.mean().item() == pytest.approx(-1.2, abs=0.2)
    assert log_sigma.std().item() == pytest.approx(1.2, abs=0.15)


@pytest.mark.parametrize("weighting", ["none", "sigma_sqrt", "cosmap"])
def test_weights_of_flow_matching_are_those_of_the_library(weighting):
    x, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([1.0, 250.0, 1000.0])
    loss, _ = asked(make(FLOW, loss_weighting=weighting), x, noise, t, x - noise + 1)
    torch.testing.assert_close(loss, compute_loss_weighting_for_sd3(weighting, t / 1000), rtol=1e-5, atol=0)
    by_hand = {"none": 1.0, "sigma_sqrt": 16.0, "cosmap": 2 / (pi * 0.625)}[weighting]
    assert loss[1].item() == pytest.approx(by_hand, rel=1e-5)
    assert asked(make(FLOW, loss_weighting=weighting), x, noise, 0 * t, x - noise + 1)[0].isfinite().all()


def test_weights_by_signal_and_noise():
    """At SNR 1, min(1, 5) / (1 + 1) for v; where v has none but noise to tell, 0."""
    config = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    ours = make("DDIMScheduler", config, snr_gamma=5.0)
    even = int((ours.family.losses.alphas_cumprod - 0.5).abs().argmin())
    x, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([even, even, 999])
    wanted = ours.family.losses.target(x, noise, t)
    loss, _ = asked(ours, x, noise, t, wanted + 1)
    torch.testing.assert_close(loss, torch.tensor([0.5, 0.5, 0.0]), rtol=0.02, atol=0)


def test_the_noise_offset_reaches_the_loss():
    made = [
        make("DDPMScheduler", noise_offset=offset).training_losses(
            lambda x, t: 0 * x, torch.randn(SHAPE), {}, draws=draws(0, 1, 2)
        )["loss"]
        for offset in (0.0, 0.5)
    ]
    assert (made[0] != made[1]).all()


def test_levels_are_drawn_evenly_or_logit_normal():
    told = []
    for options in ({}, {"sample_method": "logit-normal", "loc": 0.5, "scale": 0.25}):
        make(FLOW, **options).training_losses(
            lambda x, t: told.append(t / 1000) or x, torch.randn(200, 1, 1, 1, 1), {}, draws=draws(*range(200))
        )
    assert told[0].min() < 0.05 and told[0].max() > 0.95
    logit = torch.logit(told[1])
    assert logit.mean().item() == pytest.approx(0.5, abs=0.06)
    assert logit.std().item() == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("name", ["DDIMScheduler", FLOW, "EDMEulerScheduler"])
def test_masked_frames_reach_the_model_clean_and_cost_nothing(name):
    x = torch.randn(SHAPE)
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]]).bool()
    seen = {}

    def model(shown, t, x_mask):
        seen.update(shown=shown, x_mask=x_mask)
        return torch.where(x_mask[:, None, :, None, None], shown, torch.inf)

    loss = make(name).training_losses(model, x, {}, draws=draws(0, 1, 2), mask=mask)["loss"]
    assert loss.isfinite().all()
    assert torch.equal(seen["shown"].transpose(1, 2)[~mask], x.transpose(1, 2)[~mask])
    assert seen["x_mask"] is mask


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("DDIMScheduler", {"t": torch.tensor([0, 500, 1000])}, r"0\.\.999"),
        ("DDIMScheduler", {"t": torch.tensor([0.0, 1.0, 2.0])}, "give integers"),
        (FLOW, {"t": torch.tensor([0.0, 500.0, 1000.5])}, r"0\.\.1000"),
        ("IPNDMScheduler", {"t": torch.tensor([0.0, 0.5, 1.5])}, r"0\.\.1 "),
        ("EDMEulerScheduler", {"t": torch.tensor([0.0, torch.nan, 1.5])}, "3 finite numbers"),
        ("EDMEulerScheduler", {"t": torch.zeros(2)}, "3 finite numbers"),
        (FLOW, {"mask": torch.ones(3, 5)}, "needs booleans"),
        (FLOW, {"noise": torch.randn(3, 2, 5, 1, 1)}, r"but the latents have \(3, 2, 5, 1, 2\)"),
        (FLOW, {"draws": None}, "pass draws"),
    ],
    ids=["range", "dtype", "flow range", "circle range", "EDM NaN", "EDM shape", "mask", "noise", "draws"],
)
def test_training_refuses_what_it_cannot_use(name, arguments, text):
    with pytest.raises(UserError, match=text):
        make(name).training_losses(lambda x, t: x, torch.randn(SHAPE), {}, **{"draws": draws(0, 1, 2), **arguments})
